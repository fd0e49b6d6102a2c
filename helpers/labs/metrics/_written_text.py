"""What a written text is like: diverse, repetitive, likely under a model, or learnt by heart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.gpt import GPT, evaluating, token_losses


def distinct_n(texts: Sequence[Sequence[int]], n: int) -> float:
    """Diversity: different n-grams among all n-grams of all texts, in (0, 1]; 1 means that nothing is said twice.

    texts  token ids of each; runs never reach from one text into the next

    It falls with the number of tokens whatever the writer: compare texts of equal total length.
    ValueError: n below 1, or no text with n tokens.
    Source: Li et al. 2016, "A Diversity-Promoting Objective Function", section 5.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    grams = [tuple(map(int, text[i : i + n])) for text in texts for i in range(len(text) - n + 1)]
    if not grams:
        raise ValueError(f"no text has {n} tokens: got lengths {[len(text) for text in texts][:8]}")
    return len(set(grams)) / len(grams)


def repetition(token_ids: Sequence[int], window: int = 128) -> float:
    """Share of tokens that already stand among the `window` before them, in [0, 1). Text by people repeats too.

    ValueError: no token, or a window below 1.
    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", section 6 (rep/l).
    """
    if not len(token_ids) or window < 1:
        raise ValueError(f"expected at least one token and a window >= 1, got {len(token_ids)} and {window}")
    ids = [int(i) for i in token_ids]
    return sum(token in ids[max(0, i - window) : i] for i, token in enumerate(ids)) / len(ids)


@torch.no_grad()
def mean_log_likelihood(model: GPT, token_ids: Tensor, n_prompt: int = 1) -> float:
    """Mean ln p, in nats per token, that the model gives to a text after its prompt: what its loss is, negated.

    token_ids  (T,) on the model's device; beyond the context each token is read with at least half a context before it
    n_prompt   in [1, T): tokens at the beginning that are read and not scored

    ValueError: another shape, nothing to score, or an id outside [0, V).
    """
    if token_ids.ndim != 1 or not 1 <= n_prompt < len(token_ids):
        raise ValueError(f"expected token_ids (T,) and n_prompt in [1, T), got {tuple(token_ids.shape)} and {n_prompt}")
    context, total = model.config.context_length, 0.0
    with evaluating(model):
        first = n_prompt
        while first < len(token_ids):
            seen = first if first < context else max(1, context // 2)
            window = token_ids[first - seen : first - seen + context + 1]
            losses = token_losses(model(window[None, :-1]), window[None, 1:])[0, seen - 1 :]
            total -= losses.double().sum().item()
            first += len(losses)
    return total / (len(token_ids) - n_prompt)


class Overlap(NamedTuple):
    """A run of ids that two texts share: `length` of them, from `start` in the one and `source_start` in the other."""

    length: int
    start: int
    source_start: int


def longest_overlap(token_ids: Sequence[int], source: Sequence[int]) -> Overlap:
    """The longest run of ids that stands word for word in both: how much of a text was learnt by heart.

    token_ids  what was written; source  what was read in training
    return     Overlap; of length 0 where they share nothing. The first of several equally long ones, in both

    ValueError: an id outside [0, 1,114,112).
    Source: Carlini et al. 2021, "Extracting Training Data from Large Language Models", for the question.
    """
    text, read = _as_characters(token_ids), _as_characters(source)
    length = start = 0
    for i in range(len(text)):
        while i + length < len(text) and text[i : i + length + 1] in read:  # only a longer one is of interest
            start, length = i, length + 1
    return Overlap(length, start, read.find(text[start : start + length]))


def _as_characters(token_ids: Sequence[int]) -> str:
    """One character per id: Python finds text in text fast."""
    try:
        return "".join(map(chr, map(int, token_ids)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"ids must be in [0, {sys.maxunicode + 1:,}): {error}") from error
