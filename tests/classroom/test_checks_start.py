"""The check of notebook 00's exercise: the solution in the notebook passes (test_notebooks), mistakes do not."""

from __future__ import annotations

from statistics import mean

import numpy as np

from helpers.gpt import tokenizer
from tests import exercises


def n_tokens(text):
    return len(tokenizer.gpt2().encode(text))


def price(text):
    if not text.split():
        raise ValueError("no word")
    return n_tokens(text) / len(text.split())


def returns_the_error(text):
    return price(text) if text.split() else ValueError("no word")


def catches_the_division(text):
    try:
        return n_tokens(text) / len(text.split())
    except ZeroDivisionError:
        raise ValueError("no word") from None


def word_by_word(text):
    """All tokens belong to the text and not to its words: cut into words first, there are others."""
    return mean(n_tokens(word) for word in text.split()) if text.split() else price(text)


RIGHT_ANSWERS = {
    "s1-tokens-per-word": [
        price,
        catches_the_division,
        lambda text: np.divide(n_tokens(text), len(text.split())) if text.strip() else price(text),
    ]
}

MISTAKES = [
    ("s1-tokens-per-word", lambda text: n_tokens(text) / len(text.split(" ")), "where the air is a line break"),
    ("s1-tokens-per-word", lambda text: 1 / price(text), "which of the two is divided"),
    ("s1-tokens-per-word", lambda text: round(price(text)), "Is something rounded"),
    ("s1-tokens-per-word", lambda text: len(text) / len(text.split()), "characters per word"),
    ("s1-tokens-per-word", lambda text: n_tokens(text) / len(text.split()), "before anything is divided by zero"),
    ("s1-tokens-per-word", returns_the_error, "got ValueError('no word'). Raise it (do not return it)"),
    ("s1-tokens-per-word", word_by_word, "expected 3.1429, got 2.4286"),
    ("s1-tokens-per-word", lambda text: f"{price(text):.2f}", "expected one number, got '1.00' (str)"),
    ("s1-tokens-per-word", lambda text: price(text) if text.split() else 0.0, "expected a ValueError, got 0.0."),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
