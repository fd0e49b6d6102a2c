"""Numbers beyond the loss: calibration and accuracy, an error bar, and what a generated text is like."""

import sys
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.gpt import GPT, check_ids, evaluating, require_kind, require_whole, token_losses

MAX_OFF = 0.01  # of 1, a sum of probabilities in half precision
MOST = 100_000  # bins or resamples: more is a slip of the hand, and would take all memory or hours
MOST_IN_GRAM = 1_000  # ids, each stored anew in every n-gram


@dataclass(frozen=True)
class Calibration:
    """Predictions grouped by confidence: `accuracy` equal to `confidence` in every group is perfect calibration."""

    confidence: Tensor  # (n,) mean probability of the top-1 token, per group
    accuracy: Tensor  # (n,) share of that group whose top-1 token was right
    n_tokens: Tensor  # (n,) predictions in the group
    error: float  # expected calibration error: mean |accuracy - confidence|, weighted by n_tokens


def calibration(probs: Tensor, targets: Tensor, n_bins: int = 10) -> Calibration:
    """Group predictions into `n_bins` equal ranges of confidence, each with its lower end; empty ones are left out.

    probs    (N, V) floating point, rows sum to 1
    targets  (N,) ids in [0, V)

    ValueError: shapes that do not belong together, no prediction, values outside their range, or bins outside
    [1, MOST].
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    require_kind(Tensor, probs=probs, targets=targets)
    if probs.ndim != 2 or targets.shape != probs.shape[:1] or not len(targets):
        raise ValueError(f"expected probs (N, V) and targets (N,), got {tuple(probs.shape)} and {tuple(targets.shape)}")
    require_whole(at_most=MOST, n_bins=n_bins)
    _require_floats(probs=probs)
    probs, targets = probs.detach().cpu(), targets.cpu()
    sums = probs.sum(-1, dtype=torch.float64)
    if not (probs >= 0).all() or not ((sums - 1).abs() < MAX_OFF).all():
        told = f"{probs.min():.3g} to {probs.max():.3g} in rows that sum to {sums.min():.3g} to {sums.max():.3g}"
        raise ValueError(f"probs must be in [0, 1] and sum to 1, got {told}: take the softmax first")
    check_ids(targets, probs.shape[1], "targets")
    confidence, top = probs.max(-1)
    bins = (confidence * n_bins).long().clamp(max=n_bins - 1)
    n_tokens = bins.bincount(minlength=n_bins)
    sums = torch.zeros(2, n_bins, dtype=torch.float64)
    sums.index_add_(1, bins, torch.stack([confidence.double(), (top == targets).double()]))
    kept = n_tokens > 0
    mean_confidence, accuracy = sums[:, kept] / n_tokens[kept]
    error = float(((accuracy - mean_confidence).abs() * n_tokens[kept]).sum() / len(targets))
    return Calibration(mean_confidence, accuracy, n_tokens[kept], error)


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of targets that were the top-1 token: logits (..., V) floats, targets (...) -> a number in [0, 1].

    ValueError: shapes that do not belong together, no target or one outside [0, V), logits that are no floats or NaN.
    """
    require_kind(Tensor, logits=logits, targets=targets)
    if targets.shape != logits.shape[:-1] or not targets.numel():
        raise ValueError(
            f"expected logits (..., V) and targets (...), got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    _require_floats(logits=logits)
    check_ids(targets, logits.shape[-1], "targets")
    if logits.isnan().any():
        raise ValueError("expected logits that are numbers, got NaN: of that no token is the first")
    return (logits.argmax(-1) == targets).double().mean().item()


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def block_bootstrap(values: Tensor, block: int, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of a series whose neighbours are alike, with its 95 % interval: blocks are drawn, not single values.

    values  (N,) in reading order, such as the surprisal of each token
    block   neighbours that are drawn together: longer than the correlation reaches, much shorter than N

    ValueError: not one series, blocks that are shorter than 1 or longer than the series, resamples outside [1, MOST],
    or a seed below 0.
    Source: Kuensch 1989, "The Jackknife and the Bootstrap for General Stationary Observations".
    """
    require_whole(block=block)
    require_whole(at_most=MOST, n_resamples=n_resamples)
    require_whole(at_least=0, seed=seed)
    require_kind(Tensor, values=values)
    if values.ndim != 1 or block > len(values) or values.is_complex():
        got = f"{tuple(values.shape)} of {values.dtype} and {block}"
        raise ValueError(f"expected real values (N,) and 1 <= block <= N, got {got}")
    values = values.detach().cpu().double()
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    N, n_starts = len(values), len(values) - block + 1
    lengths = torch.full((-(-N // block),), block)
    lengths[-1] -= lengths.sum() - N  # a resample is as long as the series, or its mean would vary less
    generator = torch.Generator().manual_seed(int(seed))
    means = values.new_empty(n_resamples)
    for i in range(n_resamples):  # one by one: all at once could take gigabytes
        starts = torch.randint(n_starts, lengths.shape, generator=generator)
        means[i] = (sums[starts + lengths] - sums[starts]).sum() / N
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return Interval(values.mean().item(), low, high)


def distinct_n(texts: Sequence[Sequence[int]], n: int) -> float:
    """Diversity: different n-grams among all n-grams of all texts, in (0, 1]; 1 means that nothing is said twice.

    texts  token ids of each; n-grams never reach from one text into the next

    It falls with the number of tokens whatever the writer: compare texts of equal total length.
    ValueError: n outside [1, MOST_IN_GRAM], or no text with n tokens.
    Source: Li et al. 2016, "A Diversity-Promoting Objective Function", section 5.
    """
    require_whole(at_most=MOST_IN_GRAM, n=n)
    require_kind(Iterable, texts=texts)
    require_kind(Sized, **{f"text {i}": text for i, text in enumerate(texts)})
    grams = [tuple(map(int, text[i : i + n])) for text in texts for i in range(len(text) - n + 1)]
    if not grams:
        raise ValueError(f"no text has {n} tokens: got lengths {[len(text) for text in texts][:8]}")
    return len(set(grams)) / len(grams)


def repetition(token_ids: Sequence[int], window: int = 128) -> float:
    """Share of tokens that already stand among the `window` before them, in [0, 1). Text by people repeats too.

    ValueError: no token, or a window below 1.
    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", section 6 (rep/l).
    """
    require_kind(Sized, token_ids=token_ids)
    require_whole(n_tokens=len(token_ids), window=window)
    last_seen, n_repeated = {}, 0
    for i, token in enumerate(map(int, token_ids)):
        n_repeated += token in last_seen and i - last_seen[token] <= window
        last_seen[token] = i
    return n_repeated / len(token_ids)


@torch.no_grad()
def mean_log_likelihood(model: GPT, token_ids: Tensor, n_prompt: int = 1) -> float:
    """Mean ln p, in nats per token, that the model gives to a text after its prompt: what its loss is, negated.

    token_ids  (T,) on the model's device, at most one more than its context
    n_prompt   in [1, T): tokens at the beginning that are read and not scored

    NaN stays NaN. ValueError: another shape, nothing to score, more than the context, or an id outside [0, V).
    """
    require_whole(n_prompt=n_prompt)
    require_kind(Tensor, token_ids=token_ids)
    if token_ids.ndim != 1 or n_prompt >= len(token_ids):
        raise ValueError(f"expected token_ids (T,) and n_prompt in [1, T), got {tuple(token_ids.shape)} and {n_prompt}")
    with evaluating(model):
        losses = token_losses(model(token_ids[None, :-1]), token_ids[None, 1:])[0, n_prompt - 1 :]
    return -losses.double().sum().item() / len(losses)


class Overlap(NamedTuple):
    """A run of ids that two texts share: `length` of them, from `start` in the one and `source_start` in the other."""

    length: int
    start: int
    source_start: int


def longest_overlap(token_ids: Sequence[int], source: Sequence[int]) -> Overlap:
    """The longest verbatim overlap of two texts: how much of a generated one is regurgitated from the training text.

    token_ids  what was generated; source  what was read in training
    return     Overlap; of length 0 where they share nothing. The first of several equally long ones, in both

    ValueError: an id outside [0, 1,114,112).
    Source: Carlini et al. 2021, "Extracting Training Data from Large Language Models", for the question.
    """
    try:  # one character per id: Python finds text in text fast
        text, read = ("".join(map(chr, map(int, ids))) for ids in (token_ids, source))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"ids must be in [0, {sys.maxunicode + 1:,}): {error}") from error
    length = start = 0
    for i in range(len(text)):
        while i + length < len(text) and text[i : i + length + 1] in read:  # only a longer one is of interest
            start, length = i, length + 1
    return Overlap(length, start, read.find(text[start : start + length]))


def _require_floats(**given: Tensor) -> None:
    for name, values in given.items():
        if not values.is_floating_point():
            raise ValueError(f"expected {name} in floating point, got {values.dtype}")
