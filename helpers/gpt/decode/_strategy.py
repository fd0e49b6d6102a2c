"""From the scores of the next token to the probabilities it is drawn with: penalty, filters, temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. The order: repetition penalty, top-k, top-p, min-p, temperature.

    temperature         in [0, inf]: scores are divided by it. 1 leaves the model's probabilities as they are, 0 takes
                        the favourite (the lowest id among equals), inf gives all that the filters left the same chance
    top_k               in [1, V]: keep exactly so many favourites, equals by lower id; None keeps all
    top_p               in (0, 1]: keep the fewest favourites whose probabilities sum to at least p; None keeps all
    min_p               in (0, 1]: keep what has at least that share of the favourite's probability; None keeps all
    repetition_penalty  positive; divides the positive scores of tokens that the text already has and multiplies the
                        negative ones. 1 changes nothing
    filters_first       False: the temperature comes before the filters, as in transformers' `generate`. top-k keeps the
                        same tokens either way, top-p and min-p do not

    Each filter measures probabilities among what the one before it left, which sum to 1 again.
    ValueError: outside these ranges, NaN, or a top_k that is not a whole number.
    Sources: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p); Keskar et al. 2019,
    section 4.1 (penalty).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    filters_first: bool = True

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not self.temperature >= 0:
            raise ValueError(
                f"temperature must be in [0, inf], got {self.temperature!r}; 0 takes the favourite each time"
            )
        if self.top_k is not None and (not isinstance(self.top_k, Integral) or self.top_k < 1 or self.top_k is True):
            raise ValueError(f"top_k must be a whole number in [1, V], or None for no filter, got {self.top_k!r}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or not 0 < value <= 1):
                raise ValueError(f"{name} must be in (0, 1], or None for no filter, got {value!r}")
        if not _is_number(self.repetition_penalty) or not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty must be positive and finite (1 changes nothing), got {self.repetition_penalty!r}"
            )

    def check_vocabulary(self, vocab_size: int) -> None:
        """ValueError: a top_k above the vocabulary."""
        if self.top_k is not None and self.top_k > vocab_size:
            raise ValueError(f"top_k must be in [1, {vocab_size}], or None for no filter, got {self.top_k}")

    def probs(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """`next_probs` with these settings."""
        _check_logits(logits, seen)
        self.check_vocabulary(logits.shape[-1])
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        if seen is not None and self.repetition_penalty != 1:
            logits = penalise_repetition(logits, seen, self.repetition_penalty)
        allowed = logits > -math.inf
        measured = logits if self.filters_first else _scaled(logits, allowed, self.temperature)
        if self.top_k is not None:
            allowed = keep_top_k(measured, self.top_k, rank_by=logits)
        if self.top_p is not None:
            allowed = keep_top_p(measured.masked_fill(~allowed, -math.inf), self.top_p, rank_by=logits)
        if self.min_p is not None:
            allowed = keep_min_p(measured.masked_fill(~allowed, -math.inf), self.min_p)
        return torch.softmax(_scaled(logits, allowed, self.temperature), -1)


def next_probs(logits: Tensor, seen: Tensor | None = None, **settings: float | bool | None) -> Tensor:
    """The probabilities with which the next token is drawn.

    logits    (..., V) floating point; -inf forbids a token
    seen      (..., V) bool, true for tokens that the text already has: for the repetition penalty
    settings  as for `SamplingParams`
    return    (..., V), each row sums to 1

    ValueError: settings out of range; logits that are no floating-point tensor, hold NaN or inf, or forbid every
    token; a penalty without `seen`.
    """
    strategy = SamplingParams(**settings)
    if seen is None and strategy.repetition_penalty != 1:
        raise ValueError("a repetition penalty needs `seen`, the (..., V) bool mask of tokens that the text has")
    return strategy.probs(logits, seen)


def keep_top_k(logits: Tensor, k: int, rank_by: Tensor | None = None) -> Tensor:
    """True for the k highest scores of (..., V), fewer where fewer are allowed; among equals the lower id comes first.

    rank_by  (..., V) scores that decide instead where `logits` have become equal, as by an infinite temperature
    """
    ranks = logits if rank_by is None else rank_by.masked_fill(logits == -math.inf, -math.inf)
    kth = ranks.topk(k).values[..., -1:]
    above, equal = ranks > kth, ranks == kth
    room = k - above.sum(-1, keepdim=True)
    return (above | (equal & (equal.cumsum(-1) <= room))) & (logits > -math.inf)


def keep_top_p(logits: Tensor, p: float, rank_by: Tensor | None = None) -> Tensor:
    """True for the fewest highest scores of (..., V) whose probabilities sum to at least p: always one or more."""
    if p == 1:
        return logits > -math.inf
    ranks = logits if rank_by is None else rank_by.masked_fill(logits == -math.inf, -math.inf)
    order = ranks.argsort(dim=-1, descending=True, stable=True)
    probs = torch.softmax(logits.double(), -1).gather(-1, order)
    before = probs.cumsum(-1) - probs  # what the better ones hold already
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before < p) & (logits > -math.inf)


def keep_min_p(logits: Tensor, share: float) -> Tensor:
    """True where the probability is at least `share` of the highest of its row (..., V)."""
    return logits >= logits.amax(-1, keepdim=True) + math.log(share)


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores (..., V) with those of `seen` tokens (..., V) made smaller: divided where positive, multiplied elsewhere.

    It depends on where the scores' zero lies, which a softmax does not notice. Source: Keskar et al. 2019, 4.1.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _scaled(logits: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """(logits - highest) / temperature where allowed, -inf elsewhere: at most 0, so that nothing overflows."""
    logits = logits.masked_fill(~allowed, -math.inf)
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    below = logits - logits.amax(-1, keepdim=True)
    if temperature == math.inf:
        return below.masked_fill(allowed, 0.0)
    return (below.double() / temperature).to(logits.dtype)  # in float32 a temperature of 1e-50 would be 0


def _check_logits(logits: Tensor, seen: Tensor | None) -> None:
    for name, given in (("logits", logits), ("`seen`", seen)):
        if given is not None and not isinstance(given, Tensor):
            raise ValueError(
                f"expected {name} as a tensor (..., V), got {type(given).__name__}: torch.tensor(...) makes one"
            )
    if not logits.is_floating_point() or logits.ndim < 1 or not logits.numel():
        raise ValueError(f"expected floating-point logits (..., V), got {tuple(logits.shape)} of {logits.dtype}")
    if seen is not None and (seen.shape != logits.shape or seen.dtype != torch.bool):
        raise ValueError(f"`seen` must be bool of shape {tuple(logits.shape)}, got {tuple(seen.shape)} of {seen.dtype}")
    highest = logits.amax(-1)  # NaN if one is
    if not torch.isfinite(highest).all():
        bad = highest[~torch.isfinite(highest)][0].item()
        what = "every token of a row is forbidden" if bad == -math.inf else f"a score is {bad}"
        raise ValueError(f"expected finite logits, -inf for single forbidden tokens, but {what}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
