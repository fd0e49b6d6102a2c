"""Predictions against what was measured, and exercises against an oracle: `reveal`, `check`, a module per notebook."""

from helpers.classroom.exercises import nb00, nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08, nb09, nb10, nb11
from helpers.classroom.exercises.grader import CHECKS, NOT_ATTEMPTED, RIGHT, WRONG, Mistake, check, register, verdict
from helpers.classroom.exercises.predictions import reveal
from helpers.classroom.exercises.record import predictions

NOTEBOOKS = (nb00, nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08, nb09, nb10, nb11)  # each has registered its checks

__all__ = [
    "CHECKS",
    "NOTEBOOKS",
    "NOT_ATTEMPTED",
    "RIGHT",
    "WRONG",
    "Mistake",
    "check",
    "predictions",
    "register",
    "reveal",
    "verdict",
]
