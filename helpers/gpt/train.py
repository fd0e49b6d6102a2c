"""The training loop of notebook 04, whose seven lines are in `Trainer._update`; AdamW, evaluation, and a run's state.

One process, one device: `labs.distributed` overrides Trainer's short methods.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from helpers.gpt.chunked_loss import loss_from_hidden
from helpers.gpt.config import IGNORED_TARGET, check_ids, require_kind, require_number, require_one_of, require_whole
from helpers.gpt.data import Windows
from helpers.gpt.loss import LossReport
from helpers.gpt.model import GPT, evaluating
from helpers.gpt.records import PRECISIONS, Evaluation, Record, TrainConfig, Update
from helpers.runtime import ctrl_c_waits

MIN_LOSS_SCALE = 1.0  # below it the scaler makes gradients smaller than they are: lowering it further mends nothing


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """torch's fused AdamW in two groups: parameters with two axes or more are decayed, the others are not.

    Source: Loshchilov & Hutter 2019 (AdamW); Radford et al. 2018 (GPT), section 4.1, for what is decayed.
    """
    require_kind(nn.Module, model=model)
    require_kind(TrainConfig, config=config)
    parameters = [p for p in model.parameters() if p.requires_grad]  # a tied matrix comes once
    decayed, others = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    pairs = (decayed, config.weight_decay), (others, 0.0)
    groups = [{"params": some, "weight_decay": decay} for some, decay in pairs if some]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def summed_loss(model: GPT, token_ids: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
    """The losses of all scored targets summed, in nats, a tensor () that gradients flow through; memory stays small.

    See `loss_from_hidden` for what float16 rounds to 0, and `GPT.hidden` for `segments`.
    """
    return loss_from_hidden(model.hidden(token_ids, segments=segments), model.head.weight, targets)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Matmuls in `precision` inside the block. ValueError: none of PRECISIONS."""
    require_one_of(PRECISIONS, precision=precision)
    dtype = getattr(torch, precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@torch.no_grad()
def evaluate(model: GPT, batches: Iterable[tuple[Tensor, ...]], precision: str = "float32") -> LossReport:
    """Mean loss over every scored target, each counted once, dropout off: `token_weighted_loss`, in less memory.

    batches    of (token_ids (B, T), targets (B, T)), or of these and segments (B, T), on any device
    precision  of the matmuls: "float32", "bfloat16" or "float16"

    NaN stays NaN. ValueError: no token to score, ids out of range, or an unknown precision.
    """
    require_kind(nn.Module, model=model)
    device = next(model.parameters()).device
    with evaluating(model), autocast(device, precision):
        return LossReport.of(lambda batch: summed_loss(model, *(x.to(device) for x in batch)).item(), batches)


class NonFiniteError(FloatingPointError):
    """A loss or a gradient was infinite or NaN; the weights are those before that update. In float16 an update whose
    gradient overflows is skipped, until the scaler's factor is below MIN_LOSS_SCALE."""


class Trainer:
    """A training run. Iterate over it: it yields an Evaluation or an Update at a time, and prints and saves nothing.

    model       a GPT on the device where it shall train
    batches     batches[i] -> (token_ids (B, T), targets (B, T)), perhaps with segments (B, T), is batch i of the run:
                a `data.Batches`, or a list or tuple, which is gone through again and again
    validation  called with no argument, gives batches to evaluate on, anew each time; None: no evaluation

    After each record the run stands between two updates: `state()` describes it, `load_state` in a new Trainer goes
    on from there, and so does iterating again. Every update weights each scored token alike, however its micro-batches
    are masked. The model is in training mode in an update, and in evaluation mode after the iteration.

    ValueError: no batch, one without a target to score, an id outside the vocabulary, weights in half precision.
    Source: Loshchilov & Hutter 2019; Micikevicius et al. 2018 (mixed precision), section 3.
    """

    def __init__(
        self,
        model: GPT,
        batches: Sequence[tuple[Tensor, ...]],
        config: TrainConfig,
        validation: Callable[[], Iterable[tuple[Tensor, ...]]] | None = None,
    ) -> None:
        self.optimizer = make_optimizer(model, config)
        if not hasattr(batches, "__getitem__") or not len(batches):
            raise ValueError(f"expected at least one batch, as batches[i], got {type(batches).__name__}")
        if any(parameter.element_size() < 4 for parameter in model.parameters()):
            raise ValueError(
                f"weights must be float32, got {model.token_embedding.weight.dtype}, for which an update is too small: "
                "call model.float(), and let TrainConfig.precision choose how they are multiplied"
            )
        self.model, self.batches, self.config, self.validation = model, batches, config, validation
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.step, self.n_tokens = 0, 0

    def __iter__(self) -> Iterator[Record]:
        return self.run()

    def run(self, until: int | None = None) -> Iterator[Record]:
        """Records up to `until` updates in all; None: the whole run.

        An evaluation comes before the first update, every `eval_every` updates and after the last; a run that goes on
        where one was made repeats it.
        """
        until = self.config.n_steps if until is None else min(until, self.config.n_steps)
        every = self.config.eval_every or self.config.n_steps
        try:
            while self.step < until:
                if self.validation and self.step % every == 0:
                    yield self._evaluation()
                yield self._update()
            if self.validation and self.step == self.config.n_steps:
                yield self._evaluation()
        finally:  # also where the caller stops early
            self.model.eval()
            self.optimizer.zero_grad()  # the memory of the last gradient

    def _evaluation(self) -> Evaluation:
        report = self._evaluate(self.validation())
        return Evaluation(self.step, self.n_tokens, report.loss_nats, report.n_tokens)

    def _update(self) -> Update:
        """One turn of the loop: the seven lines of notebook 04, with its numbers.

        2 and 4 are repeated for each micro-batch: the gradients add up to that of the whole batch's mean loss. 3 stands
        before 2, which then has the memory of the old gradients.
        """
        self.model.train()  # whoever watches the run may have put it in evaluation mode to look at a text
        batch, n_scored = self._batch()  # 1 a batch
        self.optimizer.zero_grad()  # 3 clear the last gradient
        total = torch.zeros((), device=self.device)  # read once: each look would make a GPU wait
        for micro_batch in self._micro_batches(batch):
            with autocast(self.device, self.config.precision):
                summed = self._summed_loss(*micro_batch)  # 2 forward: scores, then one number
            self.scaler.scale(summed / n_scored).backward()  # 4 backward: every weight's gradient
            total += summed.detach()
        loss_nats = self._mean_over_ranks(total) / n_scored  # of one process: total.item()
        self._require_finite("a loss", loss_nats)
        self.scaler.unscale_(self.optimizer)  # the scaler acts only in float16
        norm = clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)  # 5 scale down a large one
        grad_norm = self._mean_over_ranks(norm)
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else None
        if scale is None or scale < MIN_LOSS_SCALE:
            self._require_finite("a gradient norm", grad_norm)
        rate = self.config.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate  # 6 the learning rate of this step
        step, epoch = self.step, self.step // len(self.batches)
        with ctrl_c_waits():  # a step that is taken is counted
            self.scaler.step(self.optimizer)  # 7 change every weight, unless the scaler has found an overflow
            self.scaler.update()
            self.step, self.n_tokens = step + 1, self.n_tokens + n_scored
        how = {"precision": self.config.precision, "loss_scale": scale, "skipped": not math.isfinite(grad_norm)}
        return Update(step, epoch, self.n_tokens, loss_nats, learning_rate=rate, grad_norm=grad_norm, **how)

    @torch.no_grad()  # so that ids are looked at wherever they are
    def _batch(self) -> tuple[tuple[Tensor, ...], int]:
        """The step's token_ids, targets and segments, if any, looked at; how many targets are scored."""
        i = self.step % len(self.batches) if isinstance(self.batches, list | tuple) else self.step
        token_ids, targets = (batch := self.batches[i])[:2]
        scored = targets[targets != IGNORED_TARGET]
        if not len(scored):
            raise ValueError(f"batch {i}: expected a target to score, all {targets.numel()} are {IGNORED_TARGET}")
        check_ids(token_ids, self.model.config.vocab_size, f"batch {i}: token ids")
        check_ids(scored, self.model.config.vocab_size, f"batch {i}: targets")
        return batch, len(scored)

    # What several processes do otherwise, beside `state` and `_own_part`: see `labs.distributed`.
    def _micro_batches(self, batch: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
        """The batch on the device, a few sequences at a time."""
        size = self.config.micro_batch_size or len(batch[0])
        for micro_batch in zip(*(part.split(size) for part in batch), strict=True):
            yield tuple(part.to(self.device) for part in micro_batch)

    def _summed_loss(self, *micro_batch: Tensor) -> Tensor:
        return summed_loss(self.model, *micro_batch)

    def _mean_over_ranks(self, value: Tensor) -> float:
        return value.item()

    def _evaluate(self, batches: Iterable[tuple[Tensor, ...]]) -> LossReport:
        return evaluate(self.model, batches, self.config.precision)

    def _require_finite(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        if self.scaler.is_enabled():
            self.scaler.update(self.scaler.get_scale())  # the same factor; the run may be iterated again
        position, epoch = self.step % len(self.batches), self.step // len(self.batches)
        raise NonFiniteError(
            f"{what} of {value} at step {self.step} (batch {position} of epoch {epoch}, learning rate "
            f"{self.config.schedule(self.step):.2e}, {self.config.precision}); the weights are those before it. "
            "Look at that batch; try a lower learning rate, a longer warm-up, or float32"
        )

    def state(self) -> dict[str, Any]:
        """The run without its weights (notebook 06): step, n_tokens, optimizer, scaler (None where there is none).

        The optimizer's tensors are those in use: save or copy them before the next update. The random state, which
        dropout draws from, is `storage.checkpoint.capture_rng`'s.
        """
        scaler = self.scaler.state_dict() if self.scaler.is_enabled() else None
        optimizer = self.optimizer.state_dict()
        return {"step": self.step, "n_tokens": self.n_tokens, "optimizer": optimizer, "scaler": scaler}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a copy of what `state()` gave, with this run's own settings; weights are loaded apart.

        ValueError: a step that the run does not have, or no whole number; moments that are missing, of another model
        or no numbers; a scaler's state for a run without one, or the other way round.
        """
        require_kind(dict, state=state)
        step, n_tokens, scaler = state.get("step"), state.get("n_tokens"), state.get("scaler")
        require_whole(at_least=0, step=step)
        require_whole(at_least=step, n_tokens=n_tokens)  # an update has one at least
        if step > self.config.n_steps:
            raise ValueError(f"the state is of step {step}, this run has n_steps = {self.config.n_steps}: take more")
        if (scaler is not None) != self.scaler.is_enabled():
            other = "without a gradient scaler" if scaler is None else "in float16, with a gradient scaler"
            raise ValueError(f"the state is of a run {other}, this one is in {self.config.precision}: go on as it was")
        require_kind(dict | None, scaler=scaler, optimizer=state.get("optimizer"))
        own = self.scaler.state_dict()  # empty where there is none
        require_number(positive=False, **{f"the scaler's {name}": scaler.get(name) for name in own})
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        saved = (state.get("optimizer") or {}).get("state") or {}
        require_kind(dict, **{"the optimizer's state": saved})
        # the fused AdamW has moments from the first update on, zeros where float16's scaler skipped it
        if saved.keys() != {*range(len(parameters))} and (saved or step):
            raise ValueError(
                f"expected moments of {len(parameters)} parameters, got {len(saved)}: damaged, or of another model"
            )
        moments = {i: self._own_moments(saved[i], parameter) for i, parameter in enumerate(parameters) if saved}
        own = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
        if scaler is not None:
            self.scaler.load_state_dict(scaler)
        self.step, self.n_tokens = step, n_tokens

    def _own_part(self, moment: Tensor, parameter: Tensor) -> Tensor:
        """A copy of a moment, or of a single number."""
        return moment.clone()

    def _own_moments(self, moments: dict[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
        """Copies of a parameter's moments. ValueError: not AdamW's, which reads beyond smaller ones, or no numbers."""
        shapes = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        for name, shape in shapes.items():
            held = moments.get(name)
            if getattr(held, "dtype", None) not in (torch.float32, parameter.dtype) or held.shape != shape:
                got = f"{tuple(held.shape)} of {held.dtype}" if isinstance(held, Tensor) else f"{name} = {held}"
                raise ValueError(f"expected moments of shape {tuple(shape)}, got {got}: of another model")
            low, high = (extreme.item() for extreme in held.aminmax())  # NaN passes through both
            if not math.isfinite(high - low) or (low < 0 and name != "exp_avg"):
                raise ValueError(f"expected finite moments, none but exp_avg below 0, got {name} in [{low}, {high}]")
        return {name: self._own_part(moments[name], parameter) for name in shapes}


def quick_fit(
    model: GPT, token_ids: Tensor, *, n_steps: int, batch_size: int = 8, learning_rate: float = 1e-3, seed: int = 0
) -> Iterator[Update]:
    """Fit `model` to one text at a constant rate, an update for each record that is read: `list(quick_fit(...))`.

    token_ids  (N,) int64, more than the model's context; windows are drawn from it at random
    seed       of the windows alone; the global generators are not used, except by dropout

    ValueError: too short a text, an id outside the model's vocabulary, or a number of steps or sequences below 1.
    """
    require_whole(n_steps=n_steps, batch_size=batch_size)
    require_kind(GPT, model=model)
    check_ids(token_ids, model.config.vocab_size, "token ids")
    windows = Windows(token_ids, model.config.context_length, stride=1)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(len(windows), (batch_size,), generator=generator) for _ in range(n_steps)]
    constant = {"min_lr_ratio": 1.0, "weight_decay": 0.01, "betas": (0.9, 0.999), "clip_norm": None}
    config = TrainConfig(n_steps, learning_rate, **constant)
    return iter(Trainer(model, [windows.rows(rows) for rows in drawn], config))
