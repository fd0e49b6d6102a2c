"""Weights in a few bits: rounded to the nearest of 2**n levels in blocks of 32, and what that does to a model.

`python -m helpers.labs.quantise` makes the record of notebook 11, or goes on with one that was interrupted.
"""

from helpers.labs.quantise.blocks import BLOCK, Blocks, bits_per_weight, quantise, restore, rounded
from helpers.labs.quantise.model import KINDS, kind_of, quantised_copy, relative_error, size_bytes, surprisals
from helpers.labs.quantise.record import AXES, RECORD, measure, read, record

__all__ = [
    "AXES", "BLOCK", "KINDS", "RECORD", "Blocks", "bits_per_weight", "kind_of", "measure", "quantise", "quantised_copy",
    "read", "record", "relative_error", "restore", "rounded", "size_bytes", "surprisals",
]  # fmt: skip
