"""The checks of notebook 09: other right answers pass, planted mistakes do not."""

import math
from fractions import Fraction

import numpy as np
import torch

from helpers.gpt import GPTConfig
from helpers.labs import budget
from tests import exercises


def flops_by_helper(C, n_layers, V, T):
    config = GPTConfig(vocab_size=V, context_length=T, emb_dim=C, n_heads=1, n_layers=n_layers)
    return 3 * budget.matmul_flops_per_token(config)


def rows_in_numpy(n_in, n_out, n_bytes, peak, bandwidth):
    rows = np.arange(1, 100_000)
    seconds = n_bytes * (rows * (n_in + n_out) + n_in * n_out) / bandwidth
    busy = 2 * rows * n_in * n_out / peak >= seconds
    return rows[busy].min(initial=100_000) * busy.any()


def rows_in_fractions(n_in, n_out, n_bytes, peak, bandwidth):
    saved = 2 * Fraction(bandwidth) / Fraction(peak) / n_bytes - Fraction(1, n_in) - Fraction(1, n_out)
    return math.ceil(1 / saved) if saved > 0 else 0


ROUNDS, PIECE = "2 * (n_workers - 1)", "n_bytes / n_workers"
RIGHT_ANSWERS = {
    "x1-flops": [
        flops_by_helper,
        lambda C, n, V, T: 6 * (n * 12 * C**2 + V * C + n * 2 * T * C),
        lambda C, n, V, T: 6 * sum(a * b for a, b in [(C, V), *n * [(C, 3 * C), (C, 2 * T), (C, C), (C, 8 * C)]]),
        lambda C, n, V, T: 3 * (n * (24 * C * C + 4 * T * C) + 2 * C * V),
    ],
    "x2-memory": [
        lambda n, B, T, V: 4 * (4 * n + 3 * B * T * V),
        lambda n, B, T, V: 4 * torch.empty(4 * n, device="meta").numel() + 3 * 4 * np.prod([B, T, V]),
        lambda n, B, T, V: sum(4 * math.prod(shape) for shape in 4 * [(n,)] + 3 * [(B, T, V)]),
    ],
    "x2-micro-batch": [
        ("range(batch_size, 0, -1)", "np.arange(batch_size, 0, -1)"),
        lambda b, peak, room: max([0, *(n for n in range(1, b + 1) if b % n == 0 and peak(n) <= room)]),
        lambda b, peak, room: next((b // k for k in range(1, b + 1) if b % k == 0 and peak(b // k) <= room), 0),
        lambda b, peak, room: max(n * (b % n == 0) * (peak(n) <= room) for n in range(1, b + 1)),
    ],
    "x3-bill": [
        lambda n, n_tokens, share, peak, price: budget.cost(n_tokens, share * peak / (6 * n), price).money,
        ("6 * n_params * n_tokens", "np.float32(6 * n_params) * np.float32(n_tokens)"),
    ],
    "x4-ring": [
        lambda n, k, speed, latency: 2 * (k - 1) * latency + 2 * (k - 1) / k * n / speed,
        (f"{PIECE} / bytes_per_s", f"np.float32({PIECE}) / np.float32(bytes_per_s)"),
        lambda n, k, speed, latency: sum(latency + n / k / speed for _ in ("sum", "hand on") for _ in range(1, k)),
    ],
    "x1-roofline": [rows_in_numpy, rows_in_fractions],
}
MISTAKES = {
    "x1-flops": {
        "forward pass": ("6 * in_products + 12", "2 * in_products + 4"),
        "of a sequence of T": lambda right, C, n_layers, V, T: T * right(C, n_layers, V, T),
        "the backward pass, too": ("in_products + 12", "in_products + 4"),
        "two FLOPs": ("6 * in_products + 12", "3 * in_products + 6"),
        "no matmul": ("V * C", "2 * V * C"),
        "in every block": ("in_products + 12", "in_products + 6"),
        "Count the blocks' matrices": ("12 * n_layers * C", "8 * n_layers * C"),
        "attention itself": ("in_products + 12", "in_products + 0"),
        "scored against all V": (" + V * C", ""),
    },
    "x2-memory": {
        "their gradients": ("16 *", "4 *"),
        "moments beside": ("16 *", "12 *"),
        "Not only the logits": ("12 *", "4 *"),
        "Every sequence": lambda right, n_params, B, *a: right(n_params, 1, *a),
        "Bytes, please": lambda right, *a: right(*a) / 2**30,
        "each has 4": ("16 *", "4 *", "12 *", "3 *"),
    },
    "x2-micro-batch": {
        "does not divide": ("batch_size % rows == 0 and ", ""),
        "last byte": ("<= available", "< available"),
        "Not even one": ("return 0", "return 1"),
        "not how many micro-batches": lambda right, batch, *a: batch // (right(batch, *a) or batch + 1),
        "*every* divisor": lambda _, b, peak, room: next((b >> i for i in range(9) if peak(b >> i) <= room), 0),
        "fit": lambda _, batch, peak, room: room // peak(1),
        "more than there is room": lambda _, batch, peak, room: batch,
    },
    "x3-bill": {
        "forward 2, backward 4": ("6 *", "2 *"),
        "hour has 3,600": ("3600", "60"),
        "The peak is per second": (" / 3600", ""),
        "A smaller MFU makes it dearer": ("(share * peak_flops)", "(peak_flops / share)"),
        "How many FLOPs": (" * n_tokens", ""),
        "between 0 and 1": ("(share *", "(share / 100 *"),
        "where is the MFU": ("(share *", "(1 *"),
        "Those are hours": (" * price_per_hour", ""),
    },
    "x4-ring": {
        "after half of them": (ROUNDS, "n_workers - 1"),
        "How many rounds": (ROUNDS, f"{ROUNDS} // n_workers"),
        "into as many pieces": (PIECE, "n_bytes / (n_workers - 1 or 1)"),
        "how large is the piece": ("bytes_per_s)", "(8 * bytes_per_s))"),
        "one to hand round": (ROUNDS, "2 * n_workers"),
        "not the whole gradient": (PIECE, "n_bytes"),
        "a message of its own": ("rounds * (latency_s +", "latency_s + rounds * ("),
        "latency of each round": ("latency_s + ", ""),
    },
    "x1-roofline": {
        "round up": ("math.ceil", "int"),
        "FLOPs / bytes": ("2 * n_in", "n_in"),
        "Input and output do": (" - needed * (n_in + n_out)", ""),
        "At no number of rows": lambda right, *a: right(*a) or 1,
    },
}  # fmt: skip

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_memory_by_hand_is_what_the_helper_has_for_the_same_parts():
    config = GPTConfig(vocab_size=101, context_length=7, emb_dim=6, n_heads=2, n_layers=3)
    parts = budget.memory(config, 5, chunked_loss=False)
    held = 2 * parts.weights_bytes + parts.moments_bytes + parts.logits_bytes  # a gradient for each weight
    assert held == exercises.solution("x2-memory")(budget.parameter_count(config)["total"], 5, 7, 101)
