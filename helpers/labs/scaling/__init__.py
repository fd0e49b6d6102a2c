"""Scaling laws on a source whose entropy is known. Notebook 10.

`python -m helpers.labs.scaling` makes the record of the sweep, or goes on with one that was interrupted.
"""

from helpers.labs.scaling.runs import SIZES, Result, excess, model, n_block_params, train_once
from helpers.labs.scaling.source import Authors, Documents, ToyDocuments, authors, toy_documents
from helpers.labs.scaling.sweep import RECORD, Setting, best_rate, make, protocol, read, record, settings, verify

# fmt: off
__all__ = [
    "RECORD", "SIZES", "Authors", "Documents", "Result", "Setting", "ToyDocuments", "authors", "best_rate", "excess",
    "make", "model", "n_block_params", "protocol", "read", "record", "settings", "toy_documents", "train_once",
    "verify",
]
