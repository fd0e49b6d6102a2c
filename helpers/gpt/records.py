"""What a run is told, and what it reports: settings, and a record per update and per evaluation. Notebook 04."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from helpers.gpt.loss import perplexity
from helpers.gpt.schedule import Schedule

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the model, the text and the sequences of a batch are given beside it.

    n_steps           updates in the whole run
    learning_rate     the peak of the schedule
    warmup_steps      updates of its straight rise
    min_lr_ratio      where its cosine ends, as a share of the peak
    weight_decay      AdamW's, on matrices only
    betas             AdamW's
    clip_norm         the gradient is scaled down to this norm where its own is larger; None leaves it
    micro_batch_size  sequences that go through the model at once; a batch of more is accumulated. None: all
    eval_every        updates between evaluations, also before the first and after the last; None: only those two
    precision         dtype of the matmuls: "float32", "bfloat16" or "float16". The last with a gradient scaler, which
                      reaches all but the matmuls of the output head (see `train.summed_loss`)

    ValueError: any of these outside its range.
    """

    n_steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    min_lr_ratio: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = 1.0
    micro_batch_size: int | None = None
    eval_every: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON knows lists only
        _ = self.schedule  # checks what belongs to it
        if not math.isfinite(self.weight_decay) or self.weight_decay < 0:
            raise ValueError(f"weight_decay must be a finite number of at least 0, got {self.weight_decay}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are two numbers in [0, 1), got {self.betas}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0 or None, got {self.clip_norm}")
        for name in ("n_steps", "warmup_steps", "micro_batch_size", "eval_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        for name in ("micro_batch_size", "eval_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the step."""
        return Schedule(self.learning_rate, self.n_steps, self.warmup_steps, self.min_lr_ratio)


@dataclass(frozen=True)
class Update:
    """One update of the weights, and what led to it.

    step           updates made before it: 0 is the first
    epoch          whole passes over the training windows before this batch
    n_tokens       targets scored in the run so far, this batch included
    loss_nats      mean over this batch, with the weights before the update and dropout as it is in training
    learning_rate  that it used
    grad_norm      norm of the whole gradient before clipping
    precision      dtype of the matmuls
    loss_scale     the gradient scaler's factor; None where there is none
    skipped        the scaler found an overflow and left the weights as they were
    """

    step: int
    epoch: int
    n_tokens: int
    loss_nats: float
    learning_rate: float
    grad_norm: float
    precision: str
    loss_scale: float | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The loss on the validation text after `step` updates: a mean over `n_scored` tokens in nats, dropout off.

    n_tokens  targets trained on so far
    """

    step: int
    n_tokens: int
    loss_nats: float
    n_scored: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)


Record = Update | Evaluation


class Curve(NamedTuple):
    """Losses by step: two lists of equal length."""

    steps: list[int]
    losses: list[float]


def curves(records: Iterable[Record]) -> tuple[Curve, Curve]:
    """(training curve, validation curve) of a run's records, in nats per token by updates made."""
    training, validation = Curve([], []), Curve([], [])
    for record in records:
        curve = training if isinstance(record, Update) else validation
        curve.steps.append(record.step)
        curve.losses.append(record.loss_nats)
    return training, validation
