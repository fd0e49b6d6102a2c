"""Cards to play with: each one's arithmetic is a plain tested function, its script does the same in the page."""

from helpers.classroom.cards._cost import cost
from helpers.classroom.cards._cost_calculator import cost_calculator
from helpers.classroom.cards._die import perplexity_die
from helpers.classroom.cards._memory_calculator import memory_calculator
from helpers.classroom.cards._next_token import next_token
from helpers.classroom.cards._predictors import unsure_or_wrong
from helpers.classroom.cards._sampling import sampling
from helpers.classroom.cards._stepper import loss_stepper
from helpers.classroom.cards._tree import sampling_tree

__all__ = [
    "cost",
    "cost_calculator",
    "loss_stepper",
    "memory_calculator",
    "next_token",
    "perplexity_die",
    "sampling",
    "sampling_tree",
    "unsure_or_wrong",
]
