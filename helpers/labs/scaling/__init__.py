"""Scaling laws on a source whose entropy is known. Notebook 10.

`python -m helpers.labs.scaling` makes the record of the sweep, or goes on with one that was interrupted.
"""

# isort: off
from helpers.labs.scaling.laws import FORMS, PUBLISHED, Law, Runs
from helpers.labs.scaling.laws import best_plan, bootstrap, fit, interval, rms_error, rule_of_thumb
from helpers.labs.scaling.source import Authors, Documents, authors
from helpers.labs.scaling.sweep import RECORD, SIZES, Setting, best_rate, excess, initialised, model
from helpers.labs.scaling.sweep import read, record, train, train_once, validation, verify, word_excess

# fmt: off
__all__ = [
    "FORMS", "PUBLISHED", "RECORD", "SIZES", "Authors", "Documents", "Law", "Runs", "Setting",
    "authors", "best_plan", "best_rate", "bootstrap", "excess", "fit", "initialised", "interval", "model", "read",
    "record", "rms_error", "rule_of_thumb", "train", "train_once", "validation", "verify", "word_excess",
]
