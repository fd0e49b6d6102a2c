"""What single notebooks measure with: texts, metrics, scores, budgets, speed, scaling, a grid of runs, pretrain."""

from helpers.labs import (
    budget,
    changes,
    distributed,
    metrics,
    pretrain,
    pretrained,
    scaling,
    scores,
    speed,
    texts,
    training_grid,
)
from helpers.labs.rows import rows_of

# fmt: off
__all__ = [
    "budget",
    "changes",
    "distributed",
    "metrics",
    "pretrain",
    "pretrained",
    "rows_of",
    "scaling",
    "scores",
    "speed",
    "texts",
    "training_grid",
]
