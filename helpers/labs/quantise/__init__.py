"""Weights in a few bits: rounded to the nearest of 2**n levels in blocks of 32, and what that does to a model.

`python -m helpers.labs.quantise` makes the record of notebook 11, or goes on with one that was interrupted.
"""

from helpers.labs.quantise.blocks import bits_per_weight, rounded
from helpers.labs.quantise.model import KINDS, kind_of, quantised_copy, relative_error, size_bytes, surprisals
from helpers.labs.quantise.record import AXES, RECORD, measure, read, record

__all__ = [
    "AXES", "KINDS", "RECORD", "bits_per_weight", "kind_of", "measure", "quantised_copy", "read", "record",
    "relative_error", "rounded", "size_bytes", "surprisals",
]  # fmt: skip
