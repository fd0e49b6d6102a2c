"""Cards to play with: each is a Python module that hands over numbers, and a script that does the arithmetic."""

from helpers.classroom.cards._best_size import best_size
from helpers.classroom.cards._card import Card
from helpers.classroom.cards._cost import cost
from helpers.classroom.cards._cost_calculator import cost_calculator
from helpers.classroom.cards._die import perplexity_die
from helpers.classroom.cards._memory_calculator import memory_calculator
from helpers.classroom.cards._next_token import NextToken as next_token
from helpers.classroom.cards._predictors import unsure_or_wrong
from helpers.classroom.cards._sampling import sampling
from helpers.classroom.cards._stepper import LossStepper as loss_stepper
from helpers.classroom.cards._training_grid import training_grid
from helpers.classroom.cards._tree import SamplingTree as sampling_tree

__all__ = [
    "Card",
    "best_size",
    "cost",
    "cost_calculator",
    "loss_stepper",
    "memory_calculator",
    "next_token",
    "perplexity_die",
    "sampling",
    "sampling_tree",
    "training_grid",
    "unsure_or_wrong",
]
