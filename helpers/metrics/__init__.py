"""Numbers beyond the loss: calibration, accuracy, error bars, what a written text is like, and a result's protocol."""

from helpers.metrics._calibration import Calibration, accuracy, calibration
from helpers.metrics._interval import Interval, block_bootstrap
from helpers.metrics._protocol import Protocol, Result, compare
from helpers.metrics._written_text import Overlap, distinct_n, longest_overlap, mean_log_likelihood, repetition

__all__ = [
    "Calibration",
    "Interval",
    "Overlap",
    "Protocol",
    "Result",
    "accuracy",
    "block_bootstrap",
    "calibration",
    "compare",
    "distinct_n",
    "longest_overlap",
    "mean_log_likelihood",
    "repetition",
]
