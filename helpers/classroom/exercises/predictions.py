"""Reveal: the measured value, and beside it the reader's prediction where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from helpers.classroom.pages import readable

CLOSE = 0.05  # relative distance that counts as a hit
FEW = 100  # whole numbers below are a count or a place, where what lies between is said, not a ratio


def reveal(
    guess: float | str | bool | None, measured: float | str | bool, unit: str = "", *, one_of: Sequence[str] = ()
) -> None:
    """Print what was measured; after a prediction also how far off it was.

    guess     what the reader committed to: a number, a word, True or False, or None
    measured  the result, of the same kind; an int is a count or a place
    unit      of the number, e.g. "nats"
    one_of    the words that the question offers, where it offers some

    ValueError: the guess is of another kind than the result, or none of the words offered.
    """
    if not isinstance(measured, str | bool):
        plain = measured.item() if hasattr(measured, "item") else measured  # a tensor or a number of numpy
        measured = plain if isinstance(plain, bool | int) else float(plain)
    _check(guess, measured, unit, one_of)
    unit = f" {unit}" if unit else ""
    line = f"measured: {readable(measured)}{unit}"
    if guess is not None:
        told = "" if isinstance(guess, str | bool) else unit
        line += f" · you said {readable(guess)}{told}: {_distance(guess, measured)}"
    print(line)


def _check(guess: object, measured: object, unit: str, one_of: Sequence[str]) -> None:
    if guess is None:
        return
    if isinstance(guess, tuple) and len(guess) == 2 and all(isinstance(part, int) for part in guess):
        whole, decimals = guess
        raise ValueError(
            f"my_guess should be one number or None, got the pair {guess}: in Python the decimal point is a point, "
            f"my_guess = {whole}.{decimals}"
        )
    if isinstance(measured, bool):
        kind, fits = "True or False", isinstance(guess, bool)
    elif isinstance(measured, str):
        offered = [word.lower() for word in one_of]
        kind = f"one of {', '.join(map(repr, one_of))}," if offered else f"a word such as {measured!r}"
        fits = isinstance(guess, str) and (not offered or guess.strip().lower() in offered)
    else:
        kind = f"a number ({unit})" if unit else "a number"
        fits = isinstance(guess, int | float) and not isinstance(guess, bool) and math.isfinite(guess)
    if not fits:
        raise ValueError(f"my_guess should be {kind} or None, got {guess!r}")


def _distance(guess: float | str | bool, measured: float | str | bool) -> str:
    if isinstance(measured, str):
        guess, measured = guess.strip().lower(), measured.strip().lower()
    if isinstance(measured, str | bool):
        return "right" if guess == measured else "not this time. Why?"
    if math.isclose(guess, measured, rel_tol=CLOSE):
        return f"within {CLOSE:.0%}. Well seen"
    if isinstance(measured, int) and measured < FEW and guess == int(guess):
        return f"{abs(int(guess) - measured)} too {'high' if guess > measured else 'low'}"
    if measured <= 0 or guess <= 0:
        return f"off by {readable(float(abs(guess - measured)))}"
    ratio = guess / measured
    return f"{readable(ratio)} times too high" if ratio > 1 else f"{readable(1 / ratio)} times too low"
