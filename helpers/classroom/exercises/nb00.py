"""The check of notebook 00's exercise."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from helpers.classroom.exercises.grader import Mistake, one_number, register
from helpers.gpt import tokenizer
from helpers.labs import texts

RELATIVE = 1e-4  # an answer may come in float32


@register("s1-tokens-per-word")
def tokens_per_word(answer: Callable[[str], float]) -> None:
    """Count words as runs of non-space characters, and tokens by decoding them one at a time."""
    cases = ["Whoever heard it", "Quem ouviu,  conte\na quem\nnão ouviu.", " jaraqui ", texts.story()]
    for text in cases:
        n_tokens = len(tokenizer.gpt2().decode_tokens_bytes(tokenizer.gpt2().encode(text)))
        n_words = len(re.findall(r"\S+", text))
        shown = text if len(text) < 40 else text[:30] + "..."
        got = one_number(answer(text), repr(shown))
        if not math.isclose(got, n_tokens / n_words, rel_tol=RELATIVE):
            raise Mistake(
                f"{shown!r} has {n_words} word{'s'[: n_words > 1]} and {n_tokens} tokens, so "
                f"{n_tokens / n_words:.4f}; you gave {got:.4f}. {_thought(got, text, n_tokens, n_words)}"
            )
    for empty in ("", " \n "):
        _expect_value_error(answer, empty)


def _thought(got: float, text: str, n_tokens: int, n_words: int) -> str:
    if math.isclose(got, n_tokens / len(text.split(" ")), rel_tol=RELATIVE):
        return "Is a word whatever has air on both sides, also where the air is a line break or two spaces?"
    if math.isclose(got, n_words / n_tokens, rel_tol=RELATIVE):
        return "Those are words per token: which of the two is divided by the other?"
    if math.isclose(got, len(text) / n_words, rel_tol=RELATIVE):
        return "Those are characters per word: which call cuts a text into tokens?"
    if abs(got - n_tokens / n_words) <= 1:
        return "Is something rounded, or counted one too many or too few?"
    return "How many ids does the tokenizer give for the text, and how many pieces does `text.split()`?"


def _expect_value_error(answer: Callable[[str], float], empty: str) -> None:
    try:
        got = answer(empty)
    except ValueError:
        return
    except ZeroDivisionError:
        raise Mistake(f"{empty!r} has no word: dividing by zero is caught too late. Raise a ValueError first") from None
    returned = " Raise it, do not return it." if isinstance(got, Exception) else ""
    raise Mistake(f"{empty!r} has no word and no price: expected a ValueError, got {got!r}.{returned}")
