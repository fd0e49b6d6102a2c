"""Predictions and exercises: what the reader guessed against what was measured, what the reader wrote against an oracle."""

from helpers.checks.grader import CHECKS, Mistake, check, register
from helpers.checks.predictions import reveal

__all__ = ["CHECKS", "Mistake", "check", "register", "reveal"]
