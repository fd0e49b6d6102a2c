"""The checks of notebook 04's exercises 5 and 6: the noise scale from norms, and warm-up, stable, decay."""

from __future__ import annotations

import math

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


RIGHT_ANSWERS = {"t2-noise-scale": by_a_line, "t3-wsd-rates": lambda *a: torch.tensor(rates(*a), dtype=torch.float64)}

MISTAKES = [
    ("t2-noise-scale", lambda *a: scale(*a, squared=False), "square of the mean norm"),
    ("t2-noise-scale", lambda *a: scale(*a, own_noise=False), "still contains noise"),
    ("t2-noise-scale", lambda *a: scale(*a, upside_down=True), "above the fraction's line"),
    ("t2-noise-scale", lambda *a: scale(*a, bound=False), "math.inf"),
    ("t2-noise-scale", lambda a, b, small, large: scale(b, a, small, large), "two equations"),
    ("t3-wsd-rates", lambda *a: rates(*a, first=0), "update 0 already moves"),
    ("t3-wsd-rates", lambda *a: rates(*a, last=1), "already below the peak"),
    ("t3-wsd-rates", lambda *a: rates(*a, kept=1), "a list of 10 rates"),
    ("t3-wsd-rates", lambda n, peak, floor, w, d: rates(n, peak, 0.0, w, d), "at the floor"),
    ("t3-wsd-rates", lambda n, *a: 0.5, "got float"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
