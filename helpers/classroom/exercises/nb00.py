"""The check of notebook 00's exercise."""

import re
from collections.abc import Callable

from helpers.classroom.exercises.grader import Returned, ask, refused, register
from helpers.gpt import tokenizer
from helpers.labs import texts


@register("s1-tokens-per-word")
def tokens_per_word(answer: Callable[[str], float]) -> None:
    """Count words as runs of non-space characters, and tokens by decoding them one at a time."""
    for text in ["Whoever heard it", "Quem ouviu,  conte\na quem\nnão ouviu.", " jaraqui ", texts.story()]:
        n_tokens = len(tokenizer.gpt2().decode_tokens_bytes(tokenizer.gpt2().encode(text)))
        n_words = len(re.findall(r"\S+", text))
        shown = repr(text if len(text) < 40 else text[:30] + "...")
        case = f"{shown} has {n_words} word{'s'[: n_words > 1]} and {n_tokens} tokens"
        general = "How many ids does the tokenizer give for the text, and how many pieces does `text.split()`?"
        slips = {
            "Is a word whatever has air on both sides, also where the air is a line break or two spaces?": (
                n_tokens / len(text.split(" "))
            ),
            "Those are words per token: which of the two is divided by the other?": n_words / n_tokens,
            "Those are characters per word: which call cuts a text into tokens?": len(text) / n_words,
        }

        def says(got: float, right: float = n_tokens / n_words, general: str = general) -> str:
            return "Is something rounded, or counted one too many or too few?" if abs(got - right) <= 1 else general

        Returned(ask(answer, shown, text).value, case).number(n_tokens / n_words, says, slips=slips, rel_tol=1e-4)
    for empty in ("", " \n "):
        says = "Raise it (do not return it), and before anything is divided by zero"
        refused(answer, f"{empty!r} has no word and no price", says, empty)
