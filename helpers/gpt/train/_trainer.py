"""The loop: a batch, a loss, a gradient, an update, a record; and the state from which it goes on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.gpt.loss import IGNORED_TARGET
from helpers.gpt.model import GPT
from helpers.gpt.train._evaluation import autocast, evaluate, summed_loss
from helpers.gpt.train._optimizer import make_optimizer
from helpers.gpt.train._records import Evaluation, Record, TrainConfig, Update
from helpers.gpt.train._shards import in_shards, shard, unscored, whole
from helpers.gpt.train._workers import Workers

MIN_LOSS_SCALE = 1.0  # below it the scaler makes gradients smaller than they are: lowering it further mends nothing


class NonFiniteError(FloatingPointError):
    """A loss or a gradient was infinite or not a number; the weights are those before that update.

    In float16 an update with such a gradient is skipped first, and the gradient scaler's factor halved; the error
    comes where that factor has sunk below MIN_LOSS_SCALE.
    """


class Trainer:
    """A training run. Iterate over it: it yields an Evaluation or an Update at a time, and prints and saves nothing.

    model       a GPT on the device where it shall train
    batches     batches[i] -> (token_ids (B, T), targets (B, T)), batch i of the run: a `data.Batches`, or a list or
                tuple, which is gone through again and again. A third part, segments (B, T), keeps attention inside
                documents, as `GPT.hidden` has it
    config      settings
    validation  called with no argument, gives batches to evaluate on, anew each time; None: no evaluation
    shard_on    device that this worker's part of the model goes to, where it is divided among several workers (FSDP):
                then the model may be on the CPU, and its weights are `weights()`. None: it is whole on each

    After each record the run stands between two updates, so that `state()` describes it; `load_state` in a new
    Trainer goes on from there. Breaking off and iterating again goes on too. Every update weights each scored token
    alike, however many rows and masked targets its micro-batches have. While iterating, the model is in training
    mode, into which every update puts it; afterwards in evaluation mode. Under torchrun, once the process group is
    joined, each worker trains on its share of every batch, and the update is that of the whole batch.

    ValueError: no batch, one without a target to score, an id outside the vocabulary, weights in half precision.
    NonFiniteError: see there.
    Source: Loshchilov & Hutter 2019; Micikevicius et al. 2018 (mixed precision), section 3.
    """

    def __init__(
        self,
        model: GPT,
        batches: Sequence[tuple[Tensor, ...]],
        config: TrainConfig,
        validation: Callable[[], Iterable[tuple[Tensor, ...]]] | None = None,
        shard_on: torch.device | None = None,
    ) -> None:
        if not len(batches):
            raise ValueError("expected at least one batch to train on, got none")
        if any(parameter.element_size() < 4 for parameter in model.parameters()):
            raise ValueError(
                f"weights must be float32, got {model.token_embedding.weight.dtype}: an update is too small for half "
                "precision; call model.float(), and let TrainConfig.precision choose how they are multiplied"
            )
        self.model, self.batches, self.config, self.validation = model, batches, config, validation
        self.device, self.sharded = shard_on or next(model.parameters()).device, shard_on is not None
        self.workers = Workers.current()
        self._summed_loss: nn.Module = _SummedLoss(model)
        if self.sharded:
            shard(self._summed_loss, model.blocks, self.device)
        elif self.workers.count > 1:
            self._summed_loss = DistributedDataParallel(self._summed_loss)
        self.optimizer = make_optimizer(model, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.step, self.n_tokens = 0, 0

    def __iter__(self) -> Iterator[Record]:
        return self.run()

    def run(self, until: int | None = None) -> Iterator[Record]:
        """Records up to `until` updates in all (None: the whole run); the last one is an evaluation at the run's end.

        An evaluation comes before the first update, every `eval_every` updates and after the last; going on at a
        step whose evaluation was made already repeats it, with the same result.
        """
        config = self.config
        until = config.n_steps if until is None else min(until, config.n_steps)
        every = config.eval_every or config.n_steps
        self.model.train()
        try:
            while self.step < until:
                if self.validation and self.step % every == 0:
                    yield self.evaluation()
                yield self._update()
            if self.validation and self.step == config.n_steps:
                yield self.evaluation()
        finally:  # also where the caller stops early
            self.model.eval()

    def evaluation(self) -> Evaluation:
        """The validation loss now. ValueError: the run has no validation text."""
        if self.validation is None:
            raise ValueError("this run has no validation batches: give Trainer a function that makes them")
        sharded_loss = self._summed_loss if self.sharded else None
        report = evaluate(self.model, self.validation(), self.config.precision, self.workers, sharded_loss)
        if sharded_loss:
            sharded_loss.reshard()  # the outermost unit waits for a way back, which does not come
        return Evaluation(self.step, self.n_tokens, report.loss_nats, report.n_tokens)

    def _update(self) -> Update:
        self.model.train()  # whoever watches the run may have put it in evaluation mode to look at a text
        batch, n_scored = self._batch(self.step)
        learning_rate = self.config.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss_nats = self._gradients(batch, n_scored)
        self.scaler.unscale_(self.optimizer)
        limit = self.config.clip_norm or float("inf")
        length = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        grad_norm = whole(length, keep=True).item() if self.sharded else length.item()
        overflow = not math.isfinite(grad_norm)
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else None
        if overflow and (scale is None or scale < MIN_LOSS_SCALE):
            self.scaler.update(scale)  # stays as it is, and may unscale again
            self._stop(f"a gradient of length {grad_norm}")
        self.scaler.step(self.optimizer)  # without a scaler this is optimizer.step()
        self.scaler.update()
        self.optimizer.zero_grad()
        self.step, self.n_tokens = self.step + 1, self.n_tokens + n_scored
        epoch = (self.step - 1) // len(self.batches)
        return Update(
            self.step - 1, epoch, self.n_tokens, loss_nats, learning_rate, grad_norm, self.config.precision, scale,
            overflow,
        )  # fmt: skip

    def _gradients(self, batch: tuple[Tensor, ...], n_scored: int) -> float:
        """Add up the gradient of the batch's mean loss, micro-batch by micro-batch, and return that mean."""
        self.optimizer.zero_grad()  # an update that was interrupted may have left a part of its own
        shares = [self.workers.share(part) for part in batch]
        most = math.ceil(len(batch[0]) / self.workers.count)  # rows of the first worker's share
        size = self.config.micro_batch_size or most
        pieces = list(zip(*(share.split(size) for share in shares), strict=True))
        n_own = len(pieces)
        if self.sharded:  # a layer is gathered from all workers, so that all take equally many pieces
            pieces += [unscored(pieces[0])] * (math.ceil(most / size) - len(pieces))
        total = torch.zeros((), device=self.device)  # read once: each look would make a GPU wait
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            piece = [part.to(self.device) for part in piece]
            wait = not last and isinstance(self._summed_loss, DistributedDataParallel)
            with self._summed_loss.no_sync() if wait else nullcontext(), self._drawing(counts=i < n_own):
                with autocast(self.device, self.config.precision):
                    loss = self._summed_loss(*piece)
                # workers' gradients are averaged, so that each is made `count` times too large
                self.scaler.scale(loss * (self.workers.count / n_scored)).backward()
            total += loss.detach()
        mean = self.workers.total(total.item(), device=self.device)[0] / n_scored
        if not math.isfinite(mean):
            self._stop(f"a loss of {mean}")
        return mean

    def _drawing(self, counts: bool) -> AbstractContextManager:
        """Where it does not count, the numbers that dropout draws inside the block are drawn again after it."""
        cards = [self.device] if self.device.type == "cuda" else []
        return nullcontext() if counts else torch.random.fork_rng(cards)

    def _batch(self, step: int) -> tuple[tuple[Tensor, ...], int]:
        """The step's token_ids, targets and segments, if any, looked at on the CPU; how many targets are scored."""
        i = step % len(self.batches) if isinstance(self.batches, list | tuple) else step
        batch = self.batches[i]
        token_ids, targets = batch[:2]
        scored = targets[targets != IGNORED_TARGET]
        if len(token_ids) < self.workers.count or not len(scored):
            raise ValueError(
                f"batch {i}: expected a target to score and a row for each of {self.workers.count} workers, "
                f"got {len(scored)} targets and {len(token_ids)} rows"
            )
        for name, ids in (("token ids", token_ids), ("targets", scored)):
            low, high = (int(v) for v in ids.aminmax())
            if low < 0 or high >= self.model.config.vocab_size:
                raise ValueError(
                    f"batch {i}: {name} must be in [0, {self.model.config.vocab_size}), got {low} to {high}: "
                    "does the tokenizer belong to this model?"
                )
        return batch, len(scored)

    def _stop(self, what: str) -> None:
        self.optimizer.zero_grad()
        place, epoch = self.step % len(self.batches), self.step // len(self.batches)
        raise NonFiniteError(
            f"{what} at step {self.step} (batch {place} of epoch {epoch}, learning rate "
            f"{self.config.schedule(self.step):.2e}, {self.config.precision}); the weights are those before it. "
            "Look at that batch; try a lower learning rate, a longer warm-up, or float32"
        )

    def state(self) -> dict[str, Any]:
        """Where the run stands, beside the weights: step, n_tokens, optimizer, scaler (None where there is none).

        The optimizer's tensors are the ones in use: save them, or `copy.deepcopy` them, before the next update. Of a
        model in shards they are gathered as by `weights()`.
        """
        scaler = self.scaler.state_dict() if self.scaler.is_enabled() else None
        optimizer = self.optimizer.state_dict()
        if self.sharded:
            optimizer = whole(optimizer, keep=self.workers.rank == 0)
        return {"step": self.step, "n_tokens": self.n_tokens, "optimizer": optimizer, "scaler": scaler}

    def weights(self) -> dict[str, Tensor]:
        """The model's state_dict. Where it is in shards all workers have to ask, and the first one has it whole, on its
        CPU; on the others None stands for each tensor."""
        if not self.sharded:
            return self.model.state_dict()
        return whole(self.model.state_dict(keep_vars=True), keep=self.workers.rank == 0)

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a copy of what `state()` gave; the weights are loaded by whoever has them, before shards are made.

        The state is whole, whatever the layout that it was saved in and the one that goes on.

        ValueError: a scaler's state for a run without one, or the other way round.
        """
        if (state["scaler"] is not None) != self.scaler.is_enabled():
            raise ValueError(
                f"the state {'has' if state['scaler'] is not None else 'lacks'} a gradient scaler, "
                f"this run in {self.config.precision} {'has' if self.scaler.is_enabled() else 'has none'}: "
                "go on in the precision that it was saved in"
            )
        optimizer = state["optimizer"]  # copied, as torch would go on in the given tensors
        own = in_shards(optimizer, self.optimizer) if self.sharded else copy.deepcopy(optimizer)
        self.optimizer.load_state_dict(own)
        if state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.n_tokens = state["step"], state["n_tokens"]


class _SummedLoss(nn.Module):
    """The model and its loss in one forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, token_ids: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
        return summed_loss(self.model, token_ids, targets, segments)
