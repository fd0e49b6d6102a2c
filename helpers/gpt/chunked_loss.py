"""`loss_from_hidden`: the losses of notebook 02, summed, in little memory. Fast, and hard to read: come back to it.

The scores (B * T, V) and their gradient are the largest thing in a small GPT's memory. Here the scores of a chunk of
positions at a time are made, scored, turned into gradients and thrown away: notebook 09 measures what that saves.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from helpers.gpt.config import IGNORED_TARGET, require_kind, require_whole
from helpers.gpt.loss import check_targets

CHUNK_TOKENS = 256  # rows of logits held at once by `loss_from_hidden`
SCORED_ROWS = 16  # of them, how many a CPU turns into gradients at once, so that they stay in its cache
PRODUCT_ROWS = 2048  # of the vocabulary, whose gradients are brought to float32 at once
VECTOR = 16  # float32 numbers in the longest vector of a processor


def loss_from_hidden(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    vocab_size: int | None = None,
) -> Tensor:
    """The summed `token_losses` of `hidden @ head_weight.T`, never all logits at once: a tensor () with gradients.

    hidden        (B, T, C) the last hidden states
    head_weight   (V, C) the unembedding
    targets       (B, T) ids in [0, V), or -100 for a position that is not scored
    vocab_size    rows of head_weight that are tokens, the rest padding that gets no probability; None: all

    Under autocast the matmuls run in its dtype; sums and logs are float32. The gradients are made in the forward pass,
    so that `backward` works once, also with retain_graph, and before a gradient scaler can raise them: in float16
    entries of the logits' gradient below about 3e-8 become 0.
    ValueError: shapes that do not belong together, ids out of range, chunk_tokens below 1.
    Source: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models", for the idea.
    """
    require_kind(Tensor, hidden=hidden, head_weight=head_weight, targets=targets)
    if hidden.ndim != 3 or targets.shape != hidden.shape[:2] or head_weight.shape[1:] != hidden.shape[2:]:
        raise ValueError(
            f"expected hidden (B, T, C), head_weight (V, C) and targets (B, T), got {tuple(hidden.shape)}, "
            f"{tuple(head_weight.shape)} and {tuple(targets.shape)}"
        )
    require_whole(chunk_tokens=chunk_tokens)
    vocab_size = head_weight.shape[0] if vocab_size is None else vocab_size
    targets = check_targets(targets, vocab_size)
    how = chunk_tokens, vocab_size, torch.is_grad_enabled()
    return _ChunkedLoss.apply(hidden.flatten(0, 1), head_weight, targets.flatten(), *how)


class _ChunkedLoss(torch.autograd.Function):
    """Summed loss of (N, C) hidden states; its gradients are made in the forward pass, while the scores are at hand."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk_tokens: int, vocab_size: int, gradients: bool
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        states, matrix = hidden.to(dtype), weight.to(dtype)
        total = torch.zeros((), device=hidden.device)
        need_hidden, need_weight = (gradients and need for need in ctx.needs_input_grad[:2])
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        buffer = _scores_buffer(min(chunk_tokens, len(states)), matrix)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(states), chunk_tokens):
                rows, wanted = states[start : start + chunk_tokens], targets[start : start + chunk_tokens]
                scores = torch.mm(rows, matrix.T, out=buffer[: len(rows)])  # (n, V)
                scores[:, vocab_size:] = -math.inf
                total += _scores_to_gradient(scores, wanted)
                if need_hidden:
                    grad_hidden[start : start + chunk_tokens] = scores @ matrix
                if need_weight:
                    _add_product(grad_weight, scores.T, rows)
        ctx.gradients = grad_hidden, grad_weight
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of loss_from_hidden are used up: call it again before another backward")
        scaled = [None if g is None else g.mul_(grad_total.to(g.dtype)) for g in ctx.gradients]
        ctx.gradients = None  # they were scaled in place, and are large
        return *scaled, None, None, None, None


def _scores_buffer(n_rows: int, matrix: Tensor) -> Tensor:
    """Memory for (n_rows, V) scores of hidden states by `matrix` (V, C), used by every chunk: a view of wider rows.

    Matmuls into rows that do not start at a multiple of a vector's length are a third slower on a CPU. The rest of
    each row is zeros: with AMX, oneDNN reads those columns too, and 0 * NaN is NaN.
    """
    n_columns = math.ceil(len(matrix) / VECTOR) * VECTOR
    return matrix.new_zeros(n_rows, n_columns)[:, : len(matrix)]


def _scores_to_gradient(scores: Tensor, targets: Tensor) -> Tensor:
    """Summed loss of rows of logits (n, V), which are replaced by its gradient: softmax minus one at the target."""
    step = SCORED_ROWS if scores.device.type == "cpu" else len(scores)
    parts = zip(scores.split(step), targets.split(step), strict=True)
    return torch.stack([_rows_to_gradient(rows, wanted) for rows, wanted in parts]).sum()


def _rows_to_gradient(rows: Tensor, targets: Tensor) -> Tensor:
    """Of each row: loss = log-sum-exp of the scores - score at the target, gradient = softmax - one-hot. In place."""
    scored = (targets != IGNORED_TARGET)[:, None]
    index = targets[:, None].where(scored, 0)
    scores = rows.float()  # `rows` itself where they are float32
    at_target, highest = scores.gather(-1, index), scores.amax(-1, keepdim=True)
    normaliser = scores.sub_(highest).exp_().sum(-1, keepdim=True)
    loss = (normaliser.log() + highest - at_target).where(scored, 0).sum()
    # a row that is not scored has no gradient, if its scores are finite
    normaliser = normaliser.where(scored, math.inf)
    rows.copy_(scores.div_(normaliser).scatter_add_(-1, index, -scored.float()))
    return loss


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, (V, n) by (n, C), without a second (V, C) tensor where the matmul has another dtype."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
        return
    for part, rows in zip(total.split(PRODUCT_ROWS), left.split(PRODUCT_ROWS), strict=True):
        part += rows @ right
