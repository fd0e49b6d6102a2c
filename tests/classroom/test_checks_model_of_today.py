"""The checks of notebook 11: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests import exercises


def after_rounding(numbers, n_bits, *, levels=0, low=min, rounding=round):
    start = low(numbers)
    scale = (max(numbers) - start) / (2**n_bits - 1 + levels)
    return [start + scale * rounding((x - start) / scale) if scale else x for x in numbers]


def rounded_by_numpy(numbers, n_bits):
    levels = np.linspace(min(numbers), max(numbers), 2**n_bits)
    return levels[np.abs(np.subtract.outer(numbers, levels)).argmin(1)]


def rounded_by_torch(numbers, n_bits):
    numbers = torch.tensor(numbers, dtype=torch.float64)
    levels = torch.linspace(float(numbers.min()), float(numbers.max()), 2**n_bits, dtype=torch.float64)
    return levels[(numbers[:, None] - levels).abs().argmin(1)]


def head_by_list(head, n_heads, n_kv_heads):
    return [kv for kv in range(n_kv_heads) for _ in range(n_heads // n_kv_heads)][head]


def best(log_probs, options, *, size=lambda tokens, option: len(option.encode())):
    means = [sum(t) / size(t, o) for t, o in zip(log_probs, options, strict=True)]
    return means.index(max(means))


def best_by_loop(log_probs, options):
    champion = 0
    for i in range(len(options)):
        mean = [math.fsum(log_probs[j]) / len(bytes(options[j], "utf-8")) for j in (i, champion)]
        if mean[0] > mean[1]:
            champion = i
    return champion


def at_least(n_right, n, n_options, *, first=0, last=1):
    p = 1 / n_options
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n_right + first, n + last))


def at_least_by_complement(n_right, n, n_options):
    p = 1 / n_options
    return 1 - sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n_right)) if n_right < n else p**n


def at_least_recursive(n_right, n, n_options):
    if n_right <= 0:
        return 1.0
    if n_right > n:
        return 0.0
    p = 1 / n_options
    return p * at_least_recursive(n_right - 1, n - 1, n_options) + (1 - p) * at_least_recursive(
        n_right, n - 1, n_options
    )


def bits_and_error(n_bits, block, low, high):
    return n_bits + 32 / block, (high - low) / (2**n_bits - 1) / 2


def halves(rows, n_heads):
    return rows.reshape(n_heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def halves_by_slices(rows, n_heads):
    parts = [torch.cat([head[0::2], head[1::2]]) for head in rows.chunk(n_heads)]
    return torch.cat(parts)


def halves_by_index(rows, n_heads):
    D = len(rows) // n_heads
    order = [h * D + 2 * i + odd for h in range(n_heads) for odd in (0, 1) for i in range(D // 2)]
    return rows[order]


RIGHT_ANSWERS = {
    "r4-block": [after_rounding, rounded_by_numpy, rounded_by_torch],
    "r3-head": [lambda h, H, KV: h // (H // KV), head_by_list, lambda h, H, KV: torch.tensor(h * KV // H)],
    "r5-byte": [best, best_by_loop, lambda p, o: int(np.argmax([np.sum(t) / len(s.encode()) for t, s in zip(p, o)]))],  # noqa: B905
    "r5-chance": [at_least, at_least_by_complement, at_least_recursive],
    "r4-bits": [
        bits_and_error,
        lambda b, n, low, high: [(n * b + 32) / n, (high - low) / (2 ** (b + 1) - 2)],
        lambda b, n, low, high: torch.tensor([b + 32 / n, (high - low) / (2**b - 1) / 2], dtype=torch.float64),
    ],
    "r3-pairs": [halves, halves_by_slices, halves_by_index],
}
MISTAKES = [
    ("r4-block", lambda x, b: after_rounding(x, b, levels=1), "There are 4 levels"),
    ("r4-block", lambda x, b: after_rounding(x, b, rounding=math.floor), "from the smallest number to the largest"),
    ("r4-block", lambda x, b: [min(x) + (max(x) - min(x)) / (2**b - 1)] * len(x), "levels"),
    ("r4-block", lambda x, b: after_rounding(x[:-1], b), "got 3 of them"),
    ("r4-block", lambda x, b: [round((n - min(x)) * (2**b - 1) / (max(x) - min(x))) for n in x], "with 2 bits"),
    ("r3-head", lambda h, H, KV: h % KV, "heads tiled"),
    ("r3-head", lambda h, H, KV: h // KV, "read, in order"),
    ("r3-head", lambda h, H, KV: h, "heads tiled"),
    ("r5-byte", lambda p, o: best(p, o, size=lambda t, s: 1), "Per byte of UTF-8"),
    ("r5-byte", lambda p, o: best(p, o, size=lambda t, s: len(t)), "Per byte"),
    ("r5-byte", lambda p, o: best(p, o, size=lambda t, s: len(s)), "letters of two bytes"),
    ("r5-byte", lambda p, o: o[best(p, o)], "expected one number"),
    ("r5-chance", lambda k, n, o: at_least(k, n, o, first=1), "one step too far"),
    ("r5-chance", lambda k, n, o: math.comb(n, k) * (1 / o) ** k * (1 - 1 / o) ** (n - k), "exactly that many"),
    ("r5-chance", lambda k, n, o: (1 / o) ** k, "add up all k"),
    ("r4-bits", lambda b, n, low, high: (b, (high - low) / (2**b - 1) / 2), "Without scale and minimum"),
    ("r4-bits", lambda b, n, low, high: (b + 16 / n, (high - low) / (2**b - 1) / 2), "minimum takes 16 bits"),
    ("r4-bits", lambda b, n, low, high: (b + 32 / n, (high - low) / (2**b - 1)), "whole step"),
    ("r4-bits", lambda b, n, low, high: (b + 32 / n, (high - low) / 2**b / 2), "one step less"),
    ("r3-pairs", lambda rows, H: torch.cat([rows[0::2], rows[1::2]]), "In each head"),
    ("r3-pairs", lambda rows, H: rows.reshape(H, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape), "expected"),
    ("r3-pairs", lambda rows, H: halves(rows, H)[:1], "The shape stays"),
]
test_answers = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
