"""Reveal: the measured value beside the reader's prediction, which may be missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

CLOSE = 0.05  # relative distance that counts as a hit
FEW = 100  # whole numbers below are a count or a place, where what lies between is said, not a ratio


def reveal(
    guess: float | str | bool | None, measured: float | str | bool, unit: str = "", *, one_of: Sequence[str] = ()
) -> None:
    """Print what was measured, and how far off the prediction was; without a prediction, invite one for the next time.

    guess     what the reader committed to: a number, a word, True or False, or None
    measured  the result, of the same kind; an int is a count or a place
    unit      of the number, e.g. "nats"
    one_of    the words that the question offers, where it offers some

    ValueError: the guess is of another kind than the result, or none of the words offered.
    """
    offered = [word.lower() for word in one_of]
    if offered and isinstance(guess, str) and guess.strip().lower() not in offered:
        raise ValueError(f"my_guess should be one of {', '.join(map(repr, one_of))}, or None, got {guess!r}")
    if not isinstance(measured, str | bool):
        plain = measured.item() if hasattr(measured, "item") else measured  # a tensor or a number of numpy
        measured = plain if isinstance(plain, bool | int) else float(plain)
    print(_message(guess, measured, f" {unit}" if unit else ""))


def _message(guess: float | str | bool | None, measured: float | str | bool, unit: str) -> str:
    result = f"measured: {_readable(measured)}{unit}"
    if guess is None:
        return f"{result} · no prediction this time: set my_guess above and run both cells again"
    if isinstance(measured, str | bool):
        if type(guess) is not type(measured):
            raise ValueError(f"my_guess should be {_kind(measured)} or None, got {guess!r}")
        hit = guess.strip().lower() == measured.strip().lower() if isinstance(measured, str) else guess == measured
        return f"{result} · you said {_readable(guess)}: {'right' if hit else 'not this time. Why?'}"
    if isinstance(guess, bool) or not isinstance(guess, int | float):
        raise ValueError(f"my_guess should be a number{unit and f' ({unit.strip()})'} or None, got {guess!r}")
    return f"{result} · you said {_readable(float(guess))}{unit}: {_distance(float(guess), measured)}"


def _distance(guess: float, measured: float) -> str:
    if math.isclose(guess, measured, rel_tol=CLOSE):
        return f"within {CLOSE:.0%}. Well seen"
    if isinstance(measured, int) and measured < FEW and guess == int(guess):
        return f"{_readable(abs(guess - measured))} too {'high' if guess > measured else 'low'}"
    if measured <= 0 or guess <= 0:
        return f"off by {_readable(abs(guess - measured))}"
    ratio = guess / measured
    return f"{_readable(ratio)} times too high" if ratio > 1 else f"{_readable(1 / ratio)} times too low"


def _readable(value: float | str | bool) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _kind(measured: str | bool) -> str:
    return "True or False" if isinstance(measured, bool) else f"a word such as {measured!r}"
