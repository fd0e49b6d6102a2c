"""The checks of notebook 11: other right answers pass, planted mistakes do not."""

import numpy as np
import torch
from scipy.stats import binom, binomtest

from tests import exercises


def rounded_by_numpy(numbers, n_bits):
    levels = np.linspace(min(numbers), max(numbers), 2**n_bits)
    return levels[np.abs(np.subtract.outer(numbers, levels)).argmin(1)]


def halves_by_index(rows, n_heads):
    D = len(rows) // n_heads
    order = [h * D + 2 * i + odd for h in range(n_heads) for odd in (0, 1) for i in range(D // 2)]
    return rows[order]


SIZE, STEPS, LEVEL = "len(option.encode())", "2**n_bits - 1", "low + scale * round((number - low) / scale)"
RIGHT_ANSWERS = {
    "r4-block": [
        rounded_by_numpy,
        ("round((number", "np.rint((number"),
        ("round((number - low) / scale)", "math.floor((number - low) / scale + 0.5)"),
        (LEVEL, "min((low + scale * k for k in range(2**n_bits)), key=lambda level: abs(level - number))"),
    ],
    "r3-head": [
        lambda head, H, KV: [kv for kv in range(KV) for _ in range(H // KV)][head],
        lambda head, H, KV: torch.tensor(head * KV // H),
        lambda head, H, KV: torch.arange(KV).repeat_interleave(H // KV)[head],
        lambda head, H, KV: np.argwhere(np.arange(H).reshape(KV, -1) == head)[0, 0],
    ],
    "r5-byte": [
        lambda p, o: int(np.argmax([np.sum(t) / len(s.encode()) for t, s in zip(p, o, strict=True)])),
        (f"sum(tokens) / {SIZE}", 'math.fsum(tokens) / len(bytes(option, "utf-8"))'),
        lambda p, o: max(range(len(o)), key=lambda i: sum(p[i]) / len(o[i].encode())),
    ],
    "r5-chance": [
        lambda k, n, n_options: binom.sf(k - 1, n, 1 / n_options),
        ("p**k * (1 - p) ** (n - k)", "math.exp(k * math.log(p) + (n - k) * math.log1p(-p))"),
        lambda k, n, n_options: binomtest(k, n, 1 / n_options, alternative="greater").pvalue,
        lambda k, n, m: (np.poly1d([1 / m, 1 - 1 / m]) ** n).coeffs[: n - k + 1].sum(),
    ],
    "r4-bits": [
        lambda b, n, low, high: [(n * b + 32) / n, (high - low) / (2 ** (b + 1) - 2)],
        lambda b, n, low, high: torch.tensor([b + 32 / n, (high - low) / (2**b - 1) / 2], dtype=torch.float64),
        lambda b, n, low, high: (sum([b] * n + [16, 16]) / n, np.diff(np.linspace(low, high, 2**b))[0] / 2),
    ],
    "r3-pairs": [
        halves_by_index,
        lambda rows, H: torch.cat([torch.cat([head[0::2], head[1::2]]) for head in rows.chunk(H)]),
        ("pairs.transpose(1, 2).reshape(rows.shape)", "torch.cat(pairs.unbind(2), dim=1).flatten(0, 1)"),
    ],
}
MISTAKES = {
    "r4-block": {
        "There are 4 levels": (STEPS, "2**n_bits"),
        "from the smallest number to the largest": ("round(", "math.floor("),
        "levels": lambda _, x, b: [min(x) + (max(x) - min(x)) / (2**b - 1)] * len(x),
        "with 2 bits": ("low + scale * round", "round"),
    },
    "r3-head": {
        "heads tiled": lambda _, head, H, KV: head % KV,
        "read, in order": lambda _, head, H, KV: head // KV,
        "expected": lambda _, head, H, KV: head,
    },
    "r5-byte": {
        "Per byte of UTF-8": (f" / {SIZE}", ""),
        "Per byte": (SIZE, "len(tokens)"),
        "they have -0.38, -0.50": (SIZE, "len(option)"),  # letters of two bytes
    },
    "r5-chance": {
        "one step too far": ("range(n_right,", "range(n_right + 1,"),
        "exactly that many": ("range(n_right, n + 1)", "[n_right]"),
        "add up all k": lambda _, n_right, n, n_options: (1 / n_options) ** n_right,
    },
    "r4-bits": {
        "Without scale and minimum": (" + 32 / block", ""),
        "minimum takes 16 bits": ("32", "16"),
        "whole step": (f"({STEPS}) / 2", f"({STEPS})"),
        "one step less": (STEPS, "2**n_bits"),
    },
    "r3-pairs": {
        "In each head": lambda _, rows, n_heads: torch.cat([rows[0::2], rows[1::2]]),
        "expected": ("(n_heads, -1, 2,", "(n_heads, 2, -1,"),
        "The shape stays": lambda right, *a: right(*a)[:1],
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
