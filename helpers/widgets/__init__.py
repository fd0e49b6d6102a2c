"""Cards to play with: each one's arithmetic is a plain tested function, its script does the same in the page."""

from helpers.widgets._cost import cost
from helpers.widgets._die import perplexity_die
from helpers.widgets._predictors import unsure_or_wrong
from helpers.widgets._stepper import loss_stepper

__all__ = ["cost", "loss_stepper", "perplexity_die", "unsure_or_wrong"]
