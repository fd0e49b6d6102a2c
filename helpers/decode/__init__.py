"""From scores to text: which token comes next, and one token after the other."""

from helpers.decode._generate import generate, stream, stream_text
from helpers.decode._layout import for_reading
from helpers.decode._strategy import Strategy, keep_min_p, keep_top_k, keep_top_p, next_probs, penalise_repetition

__all__ = [
    "Strategy",
    "for_reading",
    "generate",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "next_probs",
    "penalise_repetition",
    "stream",
    "stream_text",
]
