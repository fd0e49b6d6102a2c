"""The check of notebook 09's roofline: the right answer passes, planted mistakes do not."""

from __future__ import annotations

import math

from tests import exercises


def rows_for_peak(n_in, n_out, n_bytes, peak, bandwidth, flops=2, sides=lambda i, o: i + o, whole=math.ceil):
    ridge = peak / bandwidth
    left = flops * n_in * n_out / n_bytes - ridge * sides(n_in, n_out)  # what a row pays beyond its own bytes
    return whole(ridge * n_in * n_out / left) if left > 0 else 0


MISTAKES = [
    ("x1-roofline", lambda *a: rows_for_peak(*a, whole=int), "round up"),
    ("x1-roofline", lambda *a: rows_for_peak(*a, flops=1), "FLOPs / bytes"),
    ("x1-roofline", lambda *a: rows_for_peak(*a, sides=lambda i, o: 0), "Input and output do"),
    ("x1-roofline", lambda *a: rows_for_peak(*a) or 1, "At no number of rows"),
]
test_roofline = exercises.test_of({"x1-roofline": rows_for_peak}, MISTAKES)
