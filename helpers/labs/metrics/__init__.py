"""Numbers beyond the loss: calibration, accuracy, error bars, what a written text is like, and a result's protocol."""

from helpers.labs.metrics._calibration import Calibration, accuracy, calibration
from helpers.labs.metrics._interval import Interval, block_bootstrap
from helpers.labs.metrics._protocol import Protocol, Result, compare
from helpers.labs.metrics._written_text import Overlap, distinct_n, longest_overlap, mean_log_likelihood, repetition

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
