"""Rate, warm-up and batch size: the toy model of notebook 04 trained at every combination, on equally many tokens.

`python -m helpers.labs.training_grid` makes the record, or goes on with one that was interrupted. A run takes seconds.
"""

from helpers.labs.training_grid.grid import AXES, RECORD, read, record, train_once

__all__ = ["AXES", "RECORD", "read", "record", "train_once"]
