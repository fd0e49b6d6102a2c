"""Scaling laws on a source whose entropy is known. Notebook 10.

`python -m helpers.labs.scaling` makes the record of the sweep, or goes on with one that was interrupted.
"""

from helpers.labs.scaling.laws import (
    FORMS,
    PUBLISHED,
    Law,
    Plan,
    Runs,
    best_plan,
    bootstrap,
    fit,
    interval,
    rms_error,
    rule_of_thumb,
)
from helpers.labs.scaling.runs import (
    SIZES,
    Result,
    excess,
    initialised,
    model,
    n_block_params,
    train,
    train_once,
    validation,
)
from helpers.labs.scaling.source import Authors, Documents, ToyDocuments, authors, toy_documents
from helpers.labs.scaling.sweep import RECORD, SEEDS, Setting, best_rate, make, protocol, read, record, settings, verify

# fmt: off
__all__ = [
    "FORMS", "PUBLISHED", "RECORD", "SEEDS", "SIZES", "Authors", "Documents", "Law", "Plan", "Result", "Runs",
    "Setting", "ToyDocuments", "authors", "best_plan", "best_rate", "bootstrap", "excess", "fit", "initialised",
    "interval", "make", "model", "n_block_params", "protocol", "read", "record", "rms_error", "rule_of_thumb",
    "settings", "toy_documents", "train", "train_once", "validation", "verify",
]
