"""Training: a loop that yields records and does nothing else, its optimiser, its settings, and evaluation."""

from helpers.train._evaluation import evaluate, summed_loss
from helpers.train._optimizer import make_optimizer
from helpers.train._records import PRECISIONS, Curve, Evaluation, Record, TrainConfig, Update, curves
from helpers.train._taste import taste_of_training
from helpers.train._trainer import NonFiniteError, Trainer
from helpers.train._workers import Workers

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
    "summed_loss",
    "taste_of_training",
]
