"""From documents to batches: ids on disk, a split by text, windows, and an order that can be resumed anywhere."""

from helpers.data._batches import Batch, Batches, scoring_batches
from helpers.data._id_file import open_ids, write_ids
from helpers.data._split import cut, join, split_by_text
from helpers.data._windows import Windows

__all__ = [
    "Batch",
    "Batches",
    "Windows",
    "cut",
    "join",
    "open_ids",
    "scoring_batches",
    "split_by_text",
    "write_ids",
]
