"""What a run is told, and what it reports: settings, and a record per update and per evaluation. Notebook 04."""

from dataclasses import dataclass

from helpers.gpt.config import is_number, require_number, require_one_of, require_whole, store_plain
from helpers.gpt.loss import perplexity
from helpers.gpt.schedule import Schedule

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the model and the batches are given beside it. ValueError: one out of range."""

    n_steps: int  # updates in the whole run
    learning_rate: float = 1e-3  # the peak of the schedule
    warmup_steps: int = 0  # updates of its straight rise
    min_lr_ratio: float = 0.1  # where its cosine ends, over the peak
    weight_decay: float = 0.1  # AdamW's, on matrices only
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW's
    clip_norm: float | None = 1.0  # a larger gradient is scaled down to this norm; None leaves it
    micro_batch_size: int | None = None  # sequences that go through the model at once, to be accumulated; None: all
    eval_every: int | None = None  # updates between evaluations; None: only before the first and after the last
    precision: str = "float32"  # of the matmuls: also "bfloat16" or, with a gradient scaler, "float16"

    def __post_init__(self) -> None:
        whole = [name for name in ("micro_batch_size", "eval_every") if getattr(self, name) is not None]
        require_whole(**{name: getattr(self, name) for name in whole})
        require_number(learning_rate=self.learning_rate)
        _ = self.schedule  # checks what else belongs to it
        require_number(positive=False, weight_decay=self.weight_decay)
        betas = tuple(self.betas) if hasattr(self.betas, "__iter__") else ()
        if len(betas) != 2 or not all(is_number(beta) and 0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are two numbers in [0, 1), got {self.betas!r}")
        if self.clip_norm is not None and (not is_number(self.clip_norm) or not self.clip_norm > 0):
            raise ValueError(f"clip_norm must be above 0 or None, got {self.clip_norm!r}")
        require_one_of(PRECISIONS, precision=self.precision)
        store_plain(self, int, "n_steps", "warmup_steps", "micro_batch_size", "eval_every")
        store_plain(self, float, "learning_rate", "min_lr_ratio", "weight_decay", "clip_norm")
        object.__setattr__(self, "betas", tuple(map(float, betas)))  # JSON knows lists only

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the step."""
        return Schedule(self.learning_rate, self.n_steps, self.warmup_steps, self.min_lr_ratio)


@dataclass(frozen=True)
class Update:
    """One update of the weights, and what led to it."""

    step: int  # updates made before it: 0 is the first
    epoch: int  # whole passes over the training windows before this batch
    n_tokens: int  # targets scored in the run so far, this batch included
    loss_nats: float  # mean over this batch, with the weights before the update and dropout as it is in training
    learning_rate: float
    grad_norm: float  # of the whole gradient before clipping
    precision: str  # of the matmuls
    loss_scale: float | None = None  # the gradient scaler's factor; None where there is none
    skipped: bool = False  # the scaler found an overflow and left the weights as they were


@dataclass(frozen=True)
class Evaluation:
    """The loss on the validation text after `step` updates: a mean over `n_scored` tokens in nats, dropout off."""

    step: int
    n_tokens: int  # targets trained on so far
    loss_nats: float
    n_scored: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)


Record = Update | Evaluation
