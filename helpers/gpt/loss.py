"""From logits to one number: the six steps, their fast equivalents, perplexity, and a mean over all tokens alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from helpers.gpt.config import IGNORED_TARGET

CHUNK_TOKENS = 256  # rows of logits held at once by `loss_from_hidden`
SCORED_ROWS = 16  # of them, how many a CPU turns into gradients at once
PRODUCT_ROWS = 2048  # of the vocabulary, whose gradients are brought to float32 at once
VECTOR = 16  # float32 numbers in the longest vector of a processor


@dataclass(frozen=True)
class SixSteps:
    """Every intermediate on the way from scores to the loss; the number of the step stands before each."""

    logits: Tensor  # 1 (B, T, V) scores, any real number
    probs: Tensor  # 2 (B, T, V) softmax: positive, each row sums to 1
    target_probs: Tensor  # 3 (B, T) the probability given to what really came next
    log_probs: Tensor  # 4 (B, T) their natural logs, 0 at best
    mean_log_prob: Tensor  # 5 () their mean over all B * T targets
    loss_nats: Tensor  # 6 () the mean negated: 0 at best, ln V for a uniform guess


def six_steps(logits: Tensor, targets: Tensor) -> SixSteps:
    """The loss as a person would compute it, keeping each step. For training use `next_token_loss`.

    logits   (B, T, V) floating point
    targets  (B, T) ids in [0, V)
    return   SixSteps; `loss_nats` equals `F.cross_entropy` as long as no probability underflows to 0

    ValueError: shapes that do not belong together, or a target outside [0, V).
    Source: Raschka, Build a Large Language Model (From Scratch), section 5.1.2, whose six steps these are.
    """
    _check(logits, targets, allow_ignored=False)
    probs = torch.softmax(logits, dim=-1)
    target_probs = probs.gather(-1, targets[..., None]).squeeze(-1)
    log_probs = torch.log(target_probs)
    mean_log_prob = log_probs.mean()
    return SixSteps(logits, probs, target_probs, log_probs, mean_log_prob, -mean_log_prob)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The surprise at each target, -ln p(target), by log-sum-exp so that it never underflows.

    logits   (B, T, V) floating point
    targets  (B, T) ids in [0, V), or -100 for a position that is not scored
    return   (B, T) nats, computed in float32; 0 where a target is not scored

    ValueError: as for `six_steps`; while training on a GPU, ids are not looked at.
    """
    _check(logits, targets)
    flat = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED_TARGET, reduction="none"
    )
    return flat.view_as(targets)


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean surprise over the scored targets, in nats per token: a tensor () that gradients flow through.

    Arguments as for `token_losses`. ValueError: also when no target is scored, where a mean would be 0 / 0
    (on a GPU, where looking would stop it at every step, the result is NaN instead).
    """
    _check(logits, targets)
    if targets.device.type == "cpu" and not (targets != IGNORED_TARGET).any():
        raise ValueError(f"no target to score: all {targets.numel()} are {IGNORED_TARGET}")
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED_TARGET)


def loss_from_hidden(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    *,
    reduction: str = "mean",
    chunk_tokens: int = CHUNK_TOKENS,
    vocab_size: int | None = None,
) -> Tensor:
    """`next_token_loss` of `hidden @ head_weight.T` without ever holding all its logits: a tensor () with gradients.

    The (B * T, V) scores and their gradient are the largest thing in a small GPT's memory. Here the scores of
    `chunk_tokens` positions at a time are made, scored, turned into gradients and thrown away. Under autocast the
    products run in its dtype; sums and logs are float32. In float16 the gradient of the scores, softmax minus one at
    the target, is rounded as it is, before a gradient scaler can raise it: entries below about 3e-8 become 0.

    hidden        (B, T, C) the last hidden states
    head_weight   (V, C) the unembedding
    targets       (B, T) ids in [0, V), or -100 for a position that is not scored
    reduction     "mean" over the scored targets (NaN where there is none), or "sum"
    vocab_size    rows of head_weight that are tokens, the rest padding that gets no probability; None: all

    The gradients are made on the way forward and kept once, so that `backward` works once, also with retain_graph.
    ValueError: shapes that do not belong together, ids out of range, an unknown reduction, chunk_tokens below 1.
    Source: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models", for the idea.
    """
    if hidden.ndim != 3 or targets.shape != hidden.shape[:2] or head_weight.shape[1:] != hidden.shape[2:]:
        raise ValueError(
            f"expected hidden (B, T, C), head_weight (V, C) and targets (B, T), got {tuple(hidden.shape)}, "
            f"{tuple(head_weight.shape)} and {tuple(targets.shape)}"
        )
    if reduction not in ("mean", "sum") or chunk_tokens < 1:
        raise ValueError(f"expected reduction 'mean' or 'sum' and chunk_tokens >= 1, got {reduction!r}, {chunk_tokens}")
    vocab_size = head_weight.shape[0] if vocab_size is None else vocab_size
    _check_ids(targets, vocab_size)
    total = _ChunkedLoss.apply(
        hidden.flatten(0, 1), head_weight, targets.flatten(), chunk_tokens, vocab_size, torch.is_grad_enabled()
    )
    return total if reduction == "sum" else total / (targets != IGNORED_TARGET).sum()


class _ChunkedLoss(torch.autograd.Function):
    """Summed loss of (N, C) hidden states; its gradients are made in the forward pass, while the scores are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        chunk_tokens: int,
        vocab_size: int,
        with_gradients: bool,
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        states, matrix = hidden.to(dtype), weight.to(dtype)
        total = torch.zeros((), device=hidden.device)
        need_hidden, need_weight = (with_gradients and need for need in ctx.needs_input_grad[:2])
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        # one buffer for every chunk: allocating it anew costs more than the arithmetic, and products into rows that do
        # not start at a multiple of a vector's length are a third slower on a CPU. Of zeros: oneDNN
        # on AMX also reads the columns that fill a row up, and 0 * NaN is NaN
        n_columns = math.ceil(len(matrix) / VECTOR) * VECTOR
        raw = states.new_zeros(min(chunk_tokens, len(states)), n_columns)[:, : len(matrix)]
        with torch.autocast(device, enabled=False):
            for start in range(0, len(states), chunk_tokens):
                rows, wanted = states[start : start + chunk_tokens], targets[start : start + chunk_tokens]
                scores = raw[: len(rows)]
                torch.mm(rows, matrix.T, out=scores)
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


def _scores_to_gradient(scores: Tensor, targets: Tensor) -> Tensor:
    """Summed loss of rows of logits (n, V), which are replaced by its gradient: softmax minus one at the target.

    On a CPU a few rows at a time, which stay in its cache; sums and logs are float32 in any case.
    """
    step = SCORED_ROWS if scores.device.type == "cpu" else len(scores)
    parts = zip(scores.split(step), targets.split(step), strict=True)
    return torch.stack([_rows_to_gradient(rows, wanted) for rows, wanted in parts]).sum()


def _rows_to_gradient(rows: Tensor, targets: Tensor) -> Tensor:
    scored = targets != IGNORED_TARGET
    index = targets.where(scored, 0)[:, None]
    scores = rows.float()  # `rows` itself where they are float32
    at_target, highest = scores.gather(-1, index), scores.amax(-1, keepdim=True)
    normaliser = scores.sub_(highest).exp_().sum(-1, keepdim=True)
    loss = ((normaliser.log() + highest - at_target).squeeze(-1).where(scored, 0)).sum()
    scores.div_(normaliser).scatter_add_(-1, index, torch.full_like(at_target, -1))
    rows.copy_(scores.masked_fill_(~scored[:, None], 0))
    return loss


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, (V, n) by (n, C), without a second (V, C) tensor where the products have another dtype."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
        return
    for part, rows in zip(total.split(PRODUCT_ROWS), left.split(PRODUCT_ROWS), strict=True):
        part += rows @ right


def entropy(logits: Tensor) -> Tensor:
    """How undecided each prediction is, before anyone looks at the target: logits (..., V) -> nats (...), in [0, ln V].

    Source: Shannon 1948, section 6.
    """
    return torch.special.entr(torch.softmax(logits.float(), dim=-1)).sum(-1)  # entr(p) = -p ln p, and 0 at p = 0


def perplexity(loss_nats: float | Tensor) -> float:
    """exp(loss): the number of equally likely tokens among which one would be as unsure.

    ValueError: a loss below 0 or not a number. An overflow gives inf, as it should.
    Source: Jelinek et al. 1977; Jurafsky & Martin, Speech and Language Processing, ch. 3.
    """
    if isinstance(loss_nats, Tensor) and loss_nats.numel() != 1:
        raise ValueError(f"expected one mean loss, got a tensor of shape {tuple(loss_nats.shape)}: take its mean first")
    value = float(loss_nats)
    if math.isnan(value) or value < 0:
        raise ValueError(f"a mean loss is a number of at least 0 nats, got {value}")
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def bits_per_byte(loss_nats: float, n_tokens: int, n_bytes: int) -> float:
    """The loss per byte of text, in bits: comparable between tokenizers, which perplexity per token is not.

    loss_nats  mean per token
    n_tokens   tokens scored
    n_bytes    UTF-8 bytes of the text those tokens spell

    ValueError: no byte or no token.
    Source: Gao et al. 2020 (The Pile), section 3.1.
    """
    if n_tokens < 1 or n_bytes < 1:
        raise ValueError(f"needs at least one token and one byte, got {n_tokens} tokens and {n_bytes} bytes")
    return loss_nats * n_tokens / (n_bytes * math.log(2))


@dataclass(frozen=True)
class LossReport:
    """A mean loss and what it is a mean of."""

    loss_nats: float
    n_tokens: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)


@contextmanager
def evaluating(model: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Dropout off inside the block; then every part of the model is in the mode it had. A plain function may pass."""
    parts = [part for part in model.modules() if part.training] if isinstance(model, torch.nn.Module) else []
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


@torch.no_grad()
def token_weighted_loss(model: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> LossReport:
    """Mean loss over every target token of `batches`, each token counted once, dropout off.

    model    token_ids (B, T) -> logits (B, T, V); an nn.Module is put in evaluation mode and back
    batches  of (token_ids (B, T) int64, targets (B, T) int64) on the model's device; sizes may differ between batches
    return   loss_nats: mean in nats per token; n_tokens: how many were scored

    ValueError: no token to score, or an id outside [0, V).
    Source: Jurafsky & Martin, Speech and Language Processing, ch. 3 (perplexity).
    """
    total, n_tokens = 0.0, 0
    with evaluating(model):
        for token_ids, targets in batches:
            total += token_losses(model(token_ids), targets).cpu().double().sum().item()
            n_tokens += int((targets != IGNORED_TARGET).sum())
    if n_tokens == 0:
        raise ValueError("no token to score: `batches` is empty, or every target is masked")
    return LossReport(total / n_tokens, n_tokens)


def _check(logits: Tensor, targets: Tensor, allow_ignored: bool = True) -> None:
    if logits.ndim != 3 or targets.shape != logits.shape[:2] or targets.numel() == 0:
        raise ValueError(
            f"expected logits (B, T, V) and targets (B, T), got {tuple(logits.shape)} and {tuple(targets.shape)}; "
            "a single row needs a batch axis: x[None]"
        )
    _check_ids(targets, logits.shape[-1], allow_ignored)


def _check_ids(targets: Tensor, vocab_size: int, allow_ignored: bool = True) -> None:
    scored = targets[targets != IGNORED_TARGET] if allow_ignored else targets
    # on a GPU looking at values would stop it at every step, so that they are not looked at while training
    look = targets.device.type == "cpu" or not torch.is_grad_enabled()
    if look and scored.numel() and not 0 <= int(scored.min()) <= int(scored.max()) < vocab_size:
        raise ValueError(f"targets must be in [0, {vocab_size}), got {int(scored.min())} to {int(scored.max())}")
