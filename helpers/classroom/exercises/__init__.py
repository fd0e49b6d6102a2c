"""Predictions against what was measured, and exercises against an oracle: `reveal`, `check`, a module per notebook."""

from helpers.classroom.exercises.grader import CHECKS, NOT_ATTEMPTED, RIGHT, WRONG, Mistake, check, register, verdict
from helpers.classroom.exercises.predictions import reveal

__all__ = ["CHECKS", "NOT_ATTEMPTED", "RIGHT", "WRONG", "Mistake", "check", "register", "reveal", "verdict"]
