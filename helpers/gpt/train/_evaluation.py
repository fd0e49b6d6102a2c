"""The loss of a GPT over a text, without keeping the scores of a whole vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from helpers.gpt.chunked_loss import loss_from_hidden
from helpers.gpt.loss import IGNORED_TARGET, LossReport
from helpers.gpt.model import GPT, evaluating
from helpers.gpt.train._records import PRECISIONS
from helpers.gpt.train._shards import unscored
from helpers.gpt.train._shared_table import hidden_and_table
from helpers.gpt.train._workers import Workers


def summed_loss(model: GPT, token_ids: Tensor, targets: Tensor, segments: Tensor | None = None) -> Tensor:
    """Nats of all scored targets together, a tensor () that gradients flow through; memory stays small.

    The gradient of the scores is made on the way forward, before a gradient scaler can raise it: in float16 it is
    rounded as it is, and entries below about 3e-8, those of very unlikely tokens, become 0. `segments` keep attention
    inside documents, as `GPT.hidden` has them.
    """
    if model.config.tied_head and token_ids.device.type == "cpu" and torch.is_grad_enabled():
        hidden, matrix = hidden_and_table(model, token_ids, segments)
    else:
        hidden, matrix = model.hidden(token_ids, segments=segments), model.head.weight
    return loss_from_hidden(hidden, matrix, targets, reduction="sum")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Matrix products in `precision` inside the block; float32 leaves everything as it is."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    dtype = getattr(torch, precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@torch.no_grad()
def evaluate(
    model: GPT,
    batches: Iterable[tuple[Tensor, ...]],
    precision: str = "float32",
    workers: Workers | None = None,
    sharded_loss: nn.Module | None = None,
) -> LossReport:
    """Mean loss over every scored target, each counted once, dropout off: `token_weighted_loss`, in less memory.

    batches    of (token_ids (B, T), targets (B, T)), or of these and segments (B, T), on any device
    precision  of the matrix products: "float32", "bfloat16" or "float16"
    workers    several processes take every so-manyth batch each and sum what they found; None: this one alone
    sharded_loss  what computes `summed_loss` where the model is in shards, which all workers have to call equally often

    ValueError: no token to score, ids out of range, or an unknown precision.
    """
    workers = workers or Workers()
    device = next(model.parameters()).device
    total, n_tokens = 0.0, 0
    with evaluating(model), autocast(device, precision):
        for batch in _own(batches, workers, equally_many=sharded_loss is not None):
            batch = [part.to(device) for part in batch]
            total += (sharded_loss(*batch) if sharded_loss else summed_loss(model, *batch)).item()
            n_tokens += int((batch[1] != IGNORED_TARGET).sum())
    total, n_tokens = workers.total(total, n_tokens, device=device)
    if not n_tokens:
        raise ValueError("no token to score: `batches` is empty, or every target is masked")
    return LossReport(total / n_tokens, int(n_tokens))


def _own(batches: Iterable[tuple[Tensor, ...]], workers: Workers, equally_many: bool) -> Iterator[tuple[Tensor, ...]]:
    """This worker's batches; equally_many: with one that scores nothing where others have one more."""
    n = 0
    for batch in batches:
        if n % workers.count == workers.rank:
            yield batch
        n += 1
    if equally_many and 0 < n % workers.count <= workers.rank:
        yield unscored(batch)
