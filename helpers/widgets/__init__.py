"""Cards to play with: each one's arithmetic is a plain tested function, its script does the same in the page."""

from helpers.widgets._cost import cost
from helpers.widgets._cost_calculator import cost_calculator
from helpers.widgets._die import perplexity_die
from helpers.widgets._memory_calculator import memory_calculator
from helpers.widgets._next_token import next_token
from helpers.widgets._predictors import unsure_or_wrong
from helpers.widgets._sampling import sampling
from helpers.widgets._stepper import loss_stepper
from helpers.widgets._tree import sampling_tree

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
