"""The check of notebook 00's exercise."""

from __future__ import annotations

import re
from collections.abc import Callable

from helpers import texts, tokenizer
from helpers.checks.grader import Mistake, register


@register("s1-tokens-per-word")
def tokens_per_word(answer: Callable[[str], float]) -> None:
    """Count words as runs of non-space characters, and tokens by decoding them one at a time."""
    cases = ["Whoever heard it", "Quem ouviu,  conte\na quem não ouviu.", " jaraqui ", texts.story()]
    for text in cases:
        n_tokens = len(tokenizer.gpt2().decode_tokens_bytes(tokenizer.gpt2().encode(text)))
        n_words = len(re.findall(r"\S+", text))
        got = answer(text)
        if not isinstance(got, float | int) or abs(got - n_tokens / n_words) > 1e-9:
            shown = text if len(text) < 40 else text[:30] + "..."
            raise Mistake(
                f"{shown!r} has {n_words} words and {n_tokens} tokens, so {n_tokens / n_words:.4f}; you gave {got}. "
                "Is a word whatever has air on both sides, also where the air is a line break or two spaces?"
            )
    for empty in ("", " \n "):
        try:
            got = answer(empty)
        except ValueError:
            continue
        except ZeroDivisionError:
            raise Mistake(
                f"{empty!r} has no word: dividing by zero is caught too late. Raise a ValueError first"
            ) from None
        raise Mistake(f"{empty!r} has no word and no price: expected a ValueError, got {got}")
