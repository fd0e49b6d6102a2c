"""From logits to one number: the six steps, their fast equivalents, perplexity, and a mean over all tokens alike.

Notebook 02 teaches the steps, 03 the honest mean. Training calls `chunked_loss.loss_from_hidden`: the sum of the same
losses, which `train` divides by their number.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.gpt.config import IGNORED_TARGET, check_ids, is_number, require_kind, require_number
from helpers.gpt.model import evaluating


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
    """The loss as a person would compute it, keeping each step: logits (B, T, V), targets (B, T) ids in [0, V).

    It equals `F.cross_entropy` as long as no probability underflows to 0. For training use `next_token_loss`.
    ValueError: shapes that do not belong together, logits that are no floats, or a target outside [0, V).
    Source: Raschka, Build a Large Language Model (From Scratch), section 5.1.2, whose six steps these are.
    """
    _check_shapes(logits, targets)
    if not logits.is_floating_point():
        raise ValueError(f"expected logits in floating point, got {logits.dtype}: take logits.float()")
    check_ids(targets, logits.shape[-1], "targets")
    probs = torch.softmax(logits, dim=-1)
    target_probs = probs.gather(-1, targets[..., None].long()).squeeze(-1)
    log_probs = torch.log(target_probs)
    mean_log_prob = log_probs.mean()
    return SixSteps(logits, probs, target_probs, log_probs, mean_log_prob, -mean_log_prob)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The surprisal of each target, -ln p(target) or negative log-likelihood, by log-sum-exp: it never underflows.

    logits   (B, T, V) floating point
    targets  (B, T) ids in [0, V), or -100 for a position that is not scored
    return   (B, T) nats, computed in float32; 0 where a target is not scored

    ValueError: as for `six_steps`; while training on a GPU, ids are not looked at.
    """
    _check_shapes(logits, targets)
    targets = check_targets(targets, logits.shape[-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view_as(targets)


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean surprisal of the scored targets, in nats per token: a tensor () that gradients flow through.

    Arguments as for `token_losses`. ValueError: also where no target is scored; on a GPU the result is NaN
    instead, since looking would make it wait.
    """
    _check_shapes(logits, targets)
    targets = check_targets(targets, logits.shape[-1])
    if targets.device.type == "cpu" and not (targets != IGNORED_TARGET).any():
        raise ValueError(f"no target to score: all {targets.numel()} are {IGNORED_TARGET}")
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())  # which ignores IGNORED_TARGET


def entropy(logits: Tensor) -> Tensor:
    """How uncertain each prediction is, whatever the target: logits (..., V) -> nats (...), in [0, ln V].

    Source: Shannon 1948, section 6.
    """
    require_kind(Tensor, logits=logits)
    return torch.special.entr(torch.softmax(logits.float(), dim=-1)).sum(-1)  # entr(p) = -p ln p, and 0 at p = 0


def perplexity(loss_nats: float | Tensor) -> float:
    """exp(loss): the number of equally likely tokens among which one would be as uncertain.

    ValueError: a loss below 0 or not a number. An overflow gives inf, as it should.
    Source: Jelinek et al. 1977; Jurafsky & Martin, Speech and Language Processing, ch. 3.
    """
    if isinstance(loss_nats, Tensor) and loss_nats.numel() != 1:
        raise ValueError(f"expected one mean loss, got a tensor of shape {tuple(loss_nats.shape)}: take its mean first")
    value = loss_nats.item() if hasattr(loss_nats, "item") else loss_nats
    if not is_number(value) or not value >= 0:
        raise ValueError(f"a mean loss is a number of at least 0 nats, got {value!r:.60}")
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def bits_per_byte(loss_nats: float, n_tokens: int, n_bytes: int) -> float:
    """The loss per byte of text, in bits: comparable between tokenizers, which perplexity per token is not.

    loss_nats is a mean over n_tokens, which spell n_bytes of UTF-8 text.
    ValueError: no byte or no token, or a number too large. Source: Gao et al. 2020 (The Pile), section 3.1.
    """
    if not all(is_number(n) and n >= 1 for n in (n_tokens, n_bytes)):
        raise ValueError(f"needs at least one token and one byte, got {n_tokens!r} tokens and {n_bytes!r} bytes")
    perplexity(loss_nats)  # refuses what is no loss
    bits = loss_nats * n_tokens / (n_bytes * math.log(2))
    require_number(positive=False, **{"bits per byte": bits})
    return bits


@dataclass(frozen=True)
class LossReport:
    """A mean loss and what it is a mean of."""

    loss_nats: float
    n_tokens: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)

    @classmethod
    def of(
        cls, summed_loss: Callable[[tuple[Tensor, ...]], float], batches: Iterable[tuple[Tensor, ...]]
    ) -> "LossReport":
        """From the loss of each batch, summed over its targets. ValueError: no target is scored, or no batches."""
        require_kind(Iterable, batches=batches)
        total, n_tokens = 0.0, 0
        for batch in batches:
            require_kind(tuple | list, **{"a batch": batch})
            total, n_tokens = total + summed_loss(batch), n_tokens + int((batch[1] != IGNORED_TARGET).sum())
        if not n_tokens:
            raise ValueError("no token to score: `batches` is empty, or every target is masked")
        return cls(total / n_tokens, n_tokens)


@torch.no_grad()
def token_weighted_loss(model: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> LossReport:
    """Mean loss over every target token of `batches`, each token counted once, dropout off.

    model    token_ids (B, T) -> logits (B, T, V); an nn.Module is put in evaluation mode and back
    batches  of (token_ids (B, T) int64, targets (B, T) int64) on the model's device; sizes may differ between batches
    return   loss_nats: mean in nats per token, NaN where a score is; n_tokens: how many were scored

    ValueError: no token to score, or an id outside [0, V).
    Source: Jurafsky & Martin, Speech and Language Processing, ch. 3 (perplexity).
    """
    with evaluating(model):
        return LossReport.of(
            lambda batch: token_losses(model(batch[0]), *batch[1:]).cpu().double().sum().item(), batches
        )


def check_targets(targets: Tensor, vocab_size: int) -> Tensor:
    """As int64. ValueError: a target neither in [0, vocab_size) nor IGNORED_TARGET; looked at as by `check_ids`."""
    check_ids(targets[:0], vocab_size, "targets")  # whole numbers
    targets = targets.long()
    check_ids(targets.where(targets != IGNORED_TARGET, 0), vocab_size, "targets")
    return targets


def _check_shapes(logits: Tensor, targets: Tensor) -> None:
    require_kind(Tensor, logits=logits, targets=targets)
    if logits.ndim != 3 or targets.shape != logits.shape[:2] or targets.numel() == 0:
        raise ValueError(
            f"expected logits (B, T, V) and targets (B, T), got {tuple(logits.shape)} and {tuple(targets.shape)}; "
            "a single sequence needs a batch axis: x[None]"
        )
