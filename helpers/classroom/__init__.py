"""What people look at and touch: pages, figures, progress, predictions and exercises, cards, reports."""

from helpers.classroom import cards, exercises, pages, plots, progress, reports
from helpers.classroom.exercises.grader import NOT_ATTEMPTED, RIGHT, WRONG, Mistake, check, verdict
from helpers.classroom.exercises.predictions import reveal
from helpers.classroom.exercises.record import predictions

__all__ = [
    "NOT_ATTEMPTED",
    "RIGHT",
    "WRONG",
    "Mistake",
    "cards",
    "check",
    "exercises",
    "pages",
    "plots",
    "predictions",
    "progress",
    "reports",
    "reveal",
    "verdict",
]
