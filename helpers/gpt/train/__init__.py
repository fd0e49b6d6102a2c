"""Training: a loop that yields records and does nothing else, its optimiser, its settings, and evaluation."""

from helpers.gpt.train._evaluation import evaluate, summed_loss
from helpers.gpt.train._optimizer import make_optimizer
from helpers.gpt.train._records import PRECISIONS, Curve, Evaluation, Record, TrainConfig, Update, curves
from helpers.gpt.train._taste import quick_fit
from helpers.gpt.train._trainer import NonFiniteError, Trainer
from helpers.gpt.train._workers import Workers

__all__ = [
    "PRECISIONS",
    "Curve",
    "Evaluation",
    "NonFiniteError",
    "Record",
    "TrainConfig",
    "Trainer",
    "Update",
    "Workers",
    "curves",
    "evaluate",
    "make_optimizer",
    "quick_fit",
    "summed_loss",
]
