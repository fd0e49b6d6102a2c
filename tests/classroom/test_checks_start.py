"""The check of notebook 00's exercise: other right answers pass, planted mistakes do not."""

from helpers.gpt import tokenizer
from tests import exercises


def catches_the_division(text):
    try:
        return len(tokenizer.gpt2().encode(text)) / len(text.split())
    except ZeroDivisionError:
        raise ValueError("no word") from None


N_TOKENS = "len(tokenizer.gpt2().encode(text))"
RIGHT_ANSWERS = {"s1-tokens-per-word": [catches_the_division, ("text.split()", r're.findall(r"\S+", text)')]}
MISTAKES = {
    "s1-tokens-per-word": {
        "where the air is a line break": ("text.split()", 'text.split(" ")'),
        "which of the two is divided": lambda right, text: 1 / right(text),
        "Is something rounded": lambda right, text: round(right(text)),
        "characters per word": (N_TOKENS, "len(text)"),
        "before anything is divided by zero": ("if not words", "if False"),
        "Raise it (do not return it)": ("raise ValueError", "return ValueError"),
        "expected 3.1429, got 2.4286": (N_TOKENS, "sum(len(tokenizer.gpt2().encode(word)) for word in words)"),
        "expected a ValueError, got 0.0.": lambda right, text: right(text) if text.split() else 0.0,
    }
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
