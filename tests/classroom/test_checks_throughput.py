"""The checks of notebook 09: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

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


def flops(C, n_layers, V, T, times=6, attention=12, head=1, matrices=12):
    return times * (matrices * n_layers * C * C + head * C * V) + attention * n_layers * T * C


def memory(n_params, B, T, V, per_parameter=16, per_score=12):
    return per_parameter * n_params + per_score * B * T * V


def micro_batch(batch_size, peak, room, fits=lambda peak, room: peak <= room, divides=True, least=0):
    rows = [n for n in range(1, batch_size + 1) if fits(peak(n), room) and (not divides or batch_size % n == 0)]
    return max(rows, default=least)


def bill_by_helper(n_params, n_tokens, share, peak, price):
    return budget.cost(n_tokens, share * peak / (6 * n_params), price).money


def bill(n_params, n_tokens, share, peak, price, flops=6, second=3600):
    return flops * n_params * n_tokens / (share * peak) / second * price


def ring(n_bytes, k, speed, latency, rounds=lambda k: 2 * (k - 1), piece=lambda n, k: n / k):
    return rounds(k) * (latency + piece(n_bytes, k) / speed)


def micro_batch_in_numpy(batch_size, peak, room):
    n = np.arange(1, batch_size + 1)
    fits = np.array([peak(int(x)) for x in n]) <= room
    return np.max(n * fits * (batch_size % n == 0))


def bill_in_float32(n_params, n_tokens, share, peak, price):
    work = np.float32(6) * np.float32(n_params) * np.float32(n_tokens)
    return work / (np.float32(share) * np.float32(peak)) / np.float32(3600) * np.float32(price)


def rows_for_peak(n_in, n_out, n_bytes, peak, bandwidth, flops=2, sides=lambda i, o: i + o, whole=math.ceil):
    ridge = peak / bandwidth
    left = flops * n_in * n_out / n_bytes - ridge * sides(n_in, n_out)  # what a row pays beyond its own bytes
    return whole(ridge * n_in * n_out / left) if left > 0 else 0


def rows_in_numpy(n_in, n_out, n_bytes, peak, bandwidth):
    rows = np.arange(1, 100_000)
    seconds = n_bytes * (rows * (n_in + n_out) + n_in * n_out) / bandwidth
    busy = 2 * rows * n_in * n_out / peak >= seconds
    return rows[busy].min(initial=100_000) * busy.any()


def rows_in_fractions(n_in, n_out, n_bytes, peak, bandwidth):
    saved = 2 * Fraction(bandwidth) / Fraction(peak) / n_bytes - Fraction(1, n_in) - Fraction(1, n_out)
    return math.ceil(1 / saved) if saved > 0 else 0


RIGHT_ANSWERS = {
    "x1-flops": [flops, flops_by_helper, lambda C, n, V, T: 6 * (n * 12 * C**2 + V * C + n * 2 * T * C)],
    "x2-memory": [
        memory,
        lambda n, B, T, V: 4 * (4 * n + 3 * B * T * V),
        lambda n, B, T, V: 4 * torch.empty(4 * n, device="meta").numel() + 3 * 4 * np.prod([B, T, V]),
    ],
    "x2-micro-batch": [
        micro_batch,
        micro_batch_in_numpy,
        lambda b, peak, room: max([0, *(n for n in range(1, b + 1) if b % n == 0 and peak(n) <= room)]),
    ],
    "x3-bill": [bill, bill_by_helper, bill_in_float32],
    "x4-ring": [
        ring,
        lambda n, k, speed, latency: 2 * (k - 1) * latency + 2 * (k - 1) / k * n / speed,
        lambda n, k, speed, latency: (
            np.float32(2 * (k - 1)) * (np.float32(latency) + np.float32(n / k) / np.float32(speed))
        ),
    ],
    "x1-roofline": [rows_for_peak, rows_in_numpy, rows_in_fractions],
}

MISTAKES = [
    ("x1-flops", lambda *a: flops(*a, times=2, attention=4), "forward pass"),
    ("x1-flops", lambda C, n, V, T: T * flops(C, n, V, T), "of a sequence of T"),
    ("x1-flops", lambda *a: flops(*a, attention=4), "the backward pass, too"),
    ("x1-flops", lambda *a: flops(*a, times=3, attention=6), "two FLOPs"),
    ("x1-flops", lambda *a: flops(*a, head=2), "no matmul"),
    ("x1-flops", lambda *a: flops(*a, attention=6), "in every block"),
    ("x1-flops", lambda *a: flops(*a, matrices=8), "Count the blocks' matrices"),
    ("x1-flops", lambda *a: flops(*a, attention=0), "attention itself"),
    ("x1-flops", lambda *a: flops(*a, head=0), "scored against all V"),
    ("x2-memory", lambda *a: memory(*a, per_parameter=4), "their gradients"),
    ("x2-memory", lambda *a: memory(*a, per_parameter=12), "moments beside"),
    ("x2-memory", lambda *a: memory(*a, per_score=4), "Not only the logits"),
    ("x2-memory", lambda n, B, T, V: memory(n, 1, T, V), "Every sequence"),
    ("x2-memory", lambda *a: memory(*a) / 2**30, "Bytes, please"),
    ("x2-memory", lambda n, B, T, V: 4 * n + 3 * B * T * V, "each has 4"),
    ("x2-micro-batch", lambda *a: micro_batch(*a, divides=False), "does not divide"),
    ("x2-micro-batch", lambda *a: micro_batch(*a, fits=lambda peak, room: peak < room), "last byte"),
    ("x2-micro-batch", lambda *a: micro_batch(*a, least=1), "Not even one"),
    ("x2-micro-batch", lambda *a: micro_batch(*a) or None, "None (NoneType)"),
    ("x2-micro-batch", lambda batch, *a: batch // (micro_batch(batch, *a) or batch + 1), "not how many micro-batches"),
    ("x2-micro-batch", lambda b, p, r: next((b >> i for i in range(9) if p(b >> i) <= r), 0), "*every* divisor"),
    ("x2-micro-batch", lambda batch, peak, room: room // peak(1), "fit"),
    ("x2-micro-batch", lambda batch, peak, room: batch, "more than there is room"),
    ("x3-bill", lambda *a: bill(*a, flops=2), "forward 2, backward 4"),
    ("x3-bill", lambda *a: bill(*a, second=60), "hour has 3,600"),
    ("x3-bill", lambda *a: bill(*a, second=1), "The peak is per second"),
    ("x3-bill", lambda n, d, share, peak, price: bill(n, d, 1 / share, peak, price), "A smaller share makes it dearer"),
    ("x3-bill", lambda n, d, share, peak, price: bill(n, 1, share, peak, price), "How many FLOPs"),
    ("x3-bill", lambda n, d, share, peak, price: bill(n, d, share / 100, peak, price), "between 0 and 1"),
    ("x3-bill", lambda n, d, share, peak, price: bill(n, d, 1, peak, price), "Only a share"),
    ("x3-bill", lambda n, d, share, peak, price: bill(n, d, share, peak, 1), "Those are hours"),
    ("x4-ring", lambda *a: ring(*a, rounds=lambda k: k - 1), "after half of them"),
    ("x4-ring", lambda *a: ring(*a, rounds=lambda k: 2 * (k - 1) // k), "How many rounds"),
    ("x4-ring", lambda *a: ring(*a, piece=lambda n, k: n / (k - 1 or 1)), "into as many pieces"),
    ("x4-ring", lambda n, k, speed, latency: ring(n, k, 8 * speed, latency), "how large is the piece"),
    ("x4-ring", lambda *a: ring(*a, rounds=lambda k: 2 * k), "one to hand round"),
    ("x4-ring", lambda *a: ring(*a, piece=lambda n, k: n), "not the whole gradient"),
    ("x4-ring", lambda n, k, speed, latency: ring(n, k, speed, 0) + latency, "a message of its own"),
    ("x4-ring", lambda n, k, speed, latency: ring(n, k, speed, 0), "latency of each round"),
    ("x1-roofline", lambda *a: rows_for_peak(*a, whole=int), "round up"),
    ("x1-roofline", lambda *a: rows_for_peak(*a, flops=1), "FLOPs / bytes"),
    ("x1-roofline", lambda *a: rows_for_peak(*a, sides=lambda i, o: 0), "Input and output do"),
    ("x1-roofline", lambda *a: rows_for_peak(*a) or 1, "At no number of rows"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_memory_by_hand_is_what_the_helper_has_for_the_same_parts():
    config = GPTConfig(vocab_size=101, context_length=7, emb_dim=6, n_heads=2, n_layers=3)
    parts = budget.memory(config, 5, chunked_loss=False)
    held = 2 * parts.weights_bytes + parts.moments_bytes + parts.logits_bytes  # a gradient for each weight
    assert held == memory(budget.parameter_count(config)["total"], 5, 7, 101)
