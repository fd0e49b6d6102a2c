"""From the scores of the next token to the probabilities it is drawn with: penalty, filters, temperature.

Notebook 05 writes each of them by hand. A new filter is a function `keep_...(logits, value)`, a field of
`SamplingParams` and its place in `_allowed`.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from helpers.gpt.config import is_number, require_kind, require_known, require_number, require_one_of, store_plain


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """True for the k highest scores of (..., V), fewer where fewer are allowed; among equals the lower id comes first.

    ValueError: k below 1 or above V.
    """
    _check_logits(logits, top_k=k)
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"top_k must be in [1, {logits.shape[-1]}], or None for no filter, got {k}")
    kth = logits.topk(k).values[..., -1:]
    above, equal = logits > kth, logits == kth
    n_left = k - above.sum(-1, keepdim=True)
    return (above | (equal & (equal.cumsum(-1) <= n_left))) & (logits > -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """True for the fewest highest scores of (..., V) whose probabilities sum to at least p: always one or more."""
    _check_logits(logits, top_p=p)
    if p == 1:
        return logits > -math.inf  # also what rounding would lose
    order = logits.argsort(dim=-1, descending=True, stable=True)
    probs = torch.softmax(logits.double(), -1).gather(-1, order)
    before = probs.cumsum(-1) - probs  # what the better ones hold already
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before < p) & (logits > -math.inf)


def keep_min_p(logits: Tensor, share: float) -> Tensor:
    """True where the probability is at least `share` of the highest of its row (..., V)."""
    _check_logits(logits, min_p=share)
    # p >= share * highest p, in logs: the softmax's sum cancels
    return logits >= logits.amax(-1, keepdim=True) + math.log(share)


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores (..., V) with those of `seen` tokens (..., V) made smaller: divided where positive, multiplied elsewhere.

    It depends on where the scores' zero lies, which a softmax does not notice. Source: Keskar et al. 2019, 4.1.
    """
    _check_logits(logits, seen, repetition_penalty=penalty)
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def at_temperature(logits: Tensor, temperature: float) -> Tensor:
    """(logits - highest) / temperature, -inf where they are -inf: at most 0, so that nothing overflows."""
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    if temperature == math.inf:
        return torch.zeros_like(logits).masked_fill(logits == -math.inf, -math.inf)
    below = logits - logits.amax(-1, keepdim=True)
    return (below.double() / temperature).to(logits.dtype)  # in float32 a temperature of 1e-50 would be 0


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. The order: repetition penalty, top-k, top-p, min-p, temperature.

    A temperature of 0 takes the top-1 token (the lowest id among equals), inf makes all that is left equally likely.
    Each filter measures probabilities among what the one before it left, which sum to 1 again.
    ValueError: outside these ranges, NaN, or a top_k that is not a whole number.
    Sources: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p).
    """

    temperature: float = 1.0  # in [0, inf]: scores are divided by it
    top_k: int | None = None  # in [1, V], as `keep_top_k`; None keeps all, here and below
    top_p: float | None = None  # in (0, 1], as `keep_top_p`
    min_p: float | None = None  # in (0, 1], as `keep_min_p`
    repetition_penalty: float = 1.0  # positive, as `penalise_repetition`; 1 changes nothing
    filters_first: bool = True  # False: temperature first, as in transformers; only top-p and min-p differ

    @classmethod
    def of(cls, **settings: float | bool | None) -> "SamplingParams":
        """The same as calling the class. ValueError: also for a name that it does not have."""
        require_known("sampling parameter", settings, cls.__dataclass_fields__)
        return cls(**settings)

    def __post_init__(self) -> None:
        if not is_number(self.temperature) or not self.temperature >= 0:
            raise ValueError(f"temperature must be in [0, inf], got {self.temperature!r}; 0 takes the top-1 token")
        if self.top_k is not None and (not isinstance(self.top_k, Integral) or self.top_k < 1 or self.top_k is True):
            raise ValueError(f"top_k must be a whole number in [1, V], or None for no filter, got {self.top_k!r}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and (not is_number(value) or not 0 < value <= 1):
                raise ValueError(f"{name} must be in (0, 1], or None for no filter, got {value!r}")
        require_number(repetition_penalty=self.repetition_penalty)
        require_one_of((True, False), filters_first=self.filters_first)
        store_plain(self, float, "temperature", "top_p", "min_p", "repetition_penalty")

    def probs(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """The probabilities with which the next token is drawn: as `next_probs`, with these parameters."""
        _check_logits(logits, seen)
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        if self.repetition_penalty != 1:
            if seen is None:
                raise ValueError("a repetition penalty needs `seen`, the (..., V) bool mask of tokens the text has")
            logits = penalise_repetition(logits, seen, self.repetition_penalty)
            _check_logits(logits, seen)  # a tiny penalty makes them infinite
        if self.filters_first:
            allowed = self._allowed(logits)
        else:  # a very high temperature rounds different scores to equal ones: sorted, top-k still keeps the higher
            order = logits.argsort(dim=-1, descending=True, stable=True)
            measured = at_temperature(logits, self.temperature).gather(-1, order)
            allowed = torch.empty_like(order, dtype=torch.bool).scatter(-1, order, self._allowed(measured))
        return torch.softmax(at_temperature(logits.masked_fill(~allowed, -math.inf), self.temperature), -1)

    def choose(self, logits: Tensor, seen: Tensor | None, generator: torch.Generator) -> Tensor:
        """One token for each row: logits (B, V), seen (B, V) -> (B,) ids, drawn with `probs`."""
        if self.temperature == 0 and self.repetition_penalty == 1:  # what `probs` would say, without the detour
            _check_logits(logits, seen)
            return logits.argmax(-1)
        return torch.multinomial(self.probs(logits, seen), 1, generator=generator).squeeze(-1)

    def _allowed(self, logits: Tensor) -> Tensor:
        """(..., V) true for the tokens that all filters leave, one after the other."""
        for keep, value in ((keep_top_k, self.top_k), (keep_top_p, self.top_p), (keep_min_p, self.min_p)):
            if value is not None:
                logits = logits.masked_fill(~keep(logits, value), -math.inf)
        return logits > -math.inf


def next_probs(logits: Tensor, seen: Tensor | None = None, **settings: float | bool | None) -> Tensor:
    """The probabilities with which the next token is drawn, (..., V), each row summing to 1.

    logits    (..., V) floating point; -inf forbids a token
    seen      (..., V) bool, true for tokens that the text already has: for the repetition penalty
    settings  as for `SamplingParams`

    ValueError: settings or logits out of range, every token forbidden, or a penalty without `seen`.
    """
    return SamplingParams.of(**settings).probs(logits, seen)


def _check_logits(logits: Tensor, seen: Tensor | None = None, **setting: float) -> None:
    require_kind(Tensor, logits=logits)
    require_kind(Tensor | None, seen=seen)
    require_kind(Real, **setting)
    SamplingParams(**setting)  # refuses one that is out of range
    if not logits.is_floating_point() or logits.ndim < 1 or not logits.numel():
        raise ValueError(f"expected floating-point logits (..., V), got {tuple(logits.shape)} of {logits.dtype}")
    if seen is not None and (seen.shape != logits.shape or seen.dtype != torch.bool):
        raise ValueError(f"`seen` must be bool of shape {tuple(logits.shape)}, got {tuple(seen.shape)} of {seen.dtype}")
    highest = logits.amax(-1)  # NaN if one is
    if not torch.isfinite(highest).all():
        bad = highest[~torch.isfinite(highest)][0].item()
        what = "every token of a row is forbidden" if bad == -math.inf else f"a score is {bad}"
        raise ValueError(f"expected finite logits, -inf for single forbidden tokens, but {what}")
