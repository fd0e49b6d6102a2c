"""Cards to play with: each one's arithmetic is a plain tested function, its script does the same in the page."""

from helpers.widgets._cost import cost
from helpers.widgets._die import perplexity_die
from helpers.widgets._predictors import unsure_or_wrong

__all__ = ["cost", "perplexity_die", "unsure_or_wrong"]
