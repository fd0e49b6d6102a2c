"""What single notebooks measure with: texts, metrics, scores, budgets, speed, scaling, a grid, few bits, pretrain."""

from helpers.labs import (
    budget,
    changes,
    distributed,
    metrics,
    pretrain,
    pretrained,
    quantise,
    questions,
    scaling,
    scores,
    speed,
    texts,
    training_grid,
)
from helpers.labs.rows import rows_of

# fmt: off
__all__ = [
    "budget", "changes", "distributed", "metrics", "pretrain", "pretrained", "quantise", "questions", "rows_of",
    "scaling", "scores", "speed", "texts", "training_grid",
]
