"""Which of the changes since GPT-2 matters here? Each alone, on the source of notebook 10. Notebook 11.

`python -m helpers.labs.changes` makes the record, or goes on with one that was interrupted: about ten minutes of one
processor core.
"""

# isort: off
from helpers.labs.changes.runs import BASE, CHANGES, MATCHED, RECORD, Setting
from helpers.labs.changes.runs import best_rate, config_of, differences, excess_by_position, make, read, record

# fmt: off
__all__ = [
    "BASE", "CHANGES", "MATCHED", "RECORD", "Setting",
    "best_rate", "config_of", "differences", "excess_by_position", "make", "read", "record",
]
