"""From scores to text: which token comes next, and one token after the other."""

from helpers.gpt.decode._generate import generate, stream, stream_text
from helpers.gpt.decode._layout import for_reading
from helpers.gpt.decode._strategy import (
    SamplingParams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_probs,
    penalise_repetition,
)

__all__ = [
    "SamplingParams",
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
