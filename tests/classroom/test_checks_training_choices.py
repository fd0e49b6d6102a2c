"""The checks of notebook 04's exercises 5 and 6: the noise scale from norms, and warm-up, stable, decay."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests import exercises


def by_a_line(small_norms, large_norms, small, large):
    """The mean square is a straight line over 1 / B: its intercept is |G|², its slope the noise."""
    squares = [torch.tensor(norms, dtype=torch.float64).square().mean() for norms in (small_norms, large_norms)]
    slopes = torch.tensor([[1, 1 / small], [1, 1 / large]], dtype=torch.float64)
    line = torch.linalg.solve(slopes, torch.stack(squares))
    return line[1] / line[0] if line[0] > 0 else math.inf


def scale(small_norms, large_norms, small, large, *, squared=True, own_noise=True, upside_down=False, bound=True):
    means = [sum(x * x for x in norms) / len(norms) for norms in (small_norms, large_norms)]
    if not squared:
        means = [(sum(norms) / len(norms)) ** 2 for norms in (small_norms, large_norms)]
    sigma2 = (means[0] - means[1]) / (1 / small - 1 / large)
    G2 = means[1] - (sigma2 / large if own_noise else 0)
    if bound and G2 <= 0:
        return math.inf
    return G2 / sigma2 if upside_down else sigma2 / G2


def rates(n_steps, peak, floor, warmup_steps, decay_steps, *, first=1, last=0, kept=0):
    def rate(step):
        rising = (step + first) / warmup_steps if step < warmup_steps else 1
        left = (n_steps - 1 - step + last) / decay_steps if step >= n_steps - decay_steps else 1
        return peak * rising if rising < 1 else floor + (peak - floor) * left

    return [rate(step) for step in range(n_steps - kept)]


def scale_by_loop(small_norms, large_norms, small, large):
    squares = []
    for norms in (small_norms, large_norms):
        total = 0.0
        for norm in norms:
            total += norm**2
        squares.append(total / len(norms))
    G2 = (large * squares[1] - small * squares[0]) / (large - small)
    return (squares[0] - G2) * small / G2 if G2 > 0 else float("inf")


def scale_in_float32(small_norms, large_norms, small, large):
    a, b = torch.tensor(small_norms).square().mean(), torch.tensor(large_norms).pow(2).mean()
    G2, sigma2 = (large * b - small * a) / (large - small), (a - b) * small * large / (large - small)
    return sigma2 / G2 if G2 > 0 else torch.tensor(torch.inf)


def scale_in_numpy(small_norms, large_norms, small, large):
    squares = [np.mean(np.square(norms)) for norms in (small_norms, large_norms)]
    sigma2, G2 = np.polyfit([1 / small, 1 / large], squares, 1)
    return np.where(G2 > 0, sigma2 / G2, np.inf)


def rates_by_loop(n_steps, peak, floor, warmup_steps, decay_steps):
    found, rate = [], 0.0
    for step in range(n_steps):
        if step < warmup_steps:
            rate += peak / warmup_steps
        elif step < n_steps - decay_steps:
            rate = peak
        else:
            rate = (peak if step == n_steps - decay_steps else rate) - (peak - floor) / decay_steps
        found.append(rate)
    return found


def rates_in_numpy(n_steps, peak, floor, warmup_steps, decay_steps):
    stable = n_steps - warmup_steps - decay_steps
    rising, falling = np.linspace(0, peak, warmup_steps + 1)[1:], np.linspace(peak, floor, decay_steps + 1)[1:]
    return np.concatenate([rising, np.full(stable, peak), falling])


def rates_in_float32(n_steps, peak, floor, warmup_steps, decay_steps):
    step = torch.arange(n_steps)
    rising = ((step + 1) / max(warmup_steps, 1)).clamp(max=1)
    left = ((n_steps - 1 - step) / max(decay_steps, 1)).clamp(max=1) if decay_steps else torch.ones(n_steps)
    return torch.where(step < warmup_steps, peak * rising, floor + (peak - floor) * left)


def rates_between_knots(n_steps, peak, floor, warmup_steps, decay_steps):
    knots = [-1, warmup_steps - 1, n_steps - 1 - decay_steps, n_steps - 1 + (decay_steps == 0)]
    return np.interp(range(n_steps), knots, [0, peak, peak, floor])


RIGHT_ANSWERS = {
    "t2-noise-scale": [by_a_line, scale, scale_by_loop, scale_in_float32, scale_in_numpy],
    "t3-wsd-rates": [
        lambda *a: torch.tensor(rates(*a), dtype=torch.float64),
        rates_by_loop,
        rates_in_numpy,
        rates_in_float32,
        rates_between_knots,
    ],
}

MISTAKES = [
    ("t2-noise-scale", lambda *a: scale(*a, squared=False), "square of the mean norm"),
    ("t2-noise-scale", lambda *a: scale(*a, own_noise=False), "still contains noise"),
    ("t2-noise-scale", lambda *a: scale(*a, upside_down=True), "above the fraction's line"),
    ("t2-noise-scale", lambda *a: scale(*a, bound=False), "math.inf"),
    ("t2-noise-scale", lambda a, b, small, large: scale(b, a, small, large), "two equations"),
    ("t3-wsd-rates", lambda *a: rates(*a, first=0), "update 0 already moves"),
    ("t3-wsd-rates", lambda *a: rates(*a, last=1), "already below the peak"),
    ("t3-wsd-rates", lambda *a: rates(*a, kept=1), "expected 10 rates, got 9"),
    ("t3-wsd-rates", lambda n, peak, floor, w, d: rates(n, peak, 0.0, w, d), "at the floor"),
    ("t3-wsd-rates", lambda n, *a: 0.5, "got 0.5 (float)"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
