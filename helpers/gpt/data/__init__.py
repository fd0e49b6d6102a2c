"""From documents to batches: ids on disk, a split by text, windows or rows, and an order that can be resumed."""

from helpers.gpt.data._batches import Batch, Batches, scoring_batches
from helpers.gpt.data._rows import Rows, SegmentedBatch, rows_of
from helpers.gpt.data._split import cut, join, split_by_text
from helpers.gpt.data._windows import Windows

__all__ = [
    "Batch",
    "Batches",
    "Rows",
    "SegmentedBatch",
    "Windows",
    "cut",
    "join",
    "rows_of",
    "scoring_batches",
    "split_by_text",
]
