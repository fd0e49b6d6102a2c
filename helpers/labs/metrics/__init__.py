"""Numbers beyond the loss: calibration, accuracy, error bars, what a generated text is like, a result's protocol."""

# isort: off
from helpers.labs.metrics.numbers import accuracy, block_bootstrap, calibration, distinct_n, longest_overlap
from helpers.labs.metrics.numbers import mean_log_likelihood, repetition
from helpers.labs.metrics.protocol import Protocol, Result, compare, markdown_table, markdown_text

# fmt: off
__all__ = [
    "Protocol", "Result", "accuracy", "block_bootstrap", "calibration", "compare", "distinct_n", "longest_overlap",
    "markdown_table", "markdown_text", "mean_log_likelihood", "repetition",
]
