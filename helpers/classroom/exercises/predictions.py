"""Reveal: the result, measured or computed, and beside it the reader's prediction where there is one."""

import math
import sys
from bisect import bisect_right
from collections.abc import Sequence
from numbers import Real
from typing import Any

from helpers.classroom.exercises.answers import LARGEST, LONGEST, YES_OR_NO, word
from helpers.classroom.exercises.grader import cut, plain
from helpers.classroom.exercises.record import CLOSE, Prediction, keep
from helpers.classroom.exercises.show_room import show_room
from helpers.classroom.pages import readable
from helpers.language import spoken

FEW = 100  # whole numbers below are a count or a place, where what lies between is said, not a ratio
LETTERS = "abcdefgh"


def reveal(
    guess: float | str | bool | None,
    measured: float | str | bool,
    unit: str = "",
    *,
    one_of: Sequence[str] = (),
    bounds: Sequence[float] = (),
    room: Any = None,
) -> None:
    """Print the result; after a prediction also how far off it was. `predictions()` shows all of them again.

    guess     what the reader committed to: a number, a word, a letter, True or False, or None
    measured  the result, of the same kind; an int is a count or a place, one letter the right choice
    unit      of the number, e.g. "nats"
    one_of    the words that the question offers, where it offers some
    bounds    where the question offers ranges of a number: what divides them, in ascending order. With (1, 10), "a" is
              below 1, "b" from 1 on, "c" from 10 on; the guess is a letter, or still a number
    room      what a class predicted, to be drawn: a list, a text such as "4,5; 6; 20", the name of a form's CSV file,
              or its address; None: nobody was asked

    ValueError: the guess is of another kind than the result, or none of the words offered; no such file or address.
    """
    guess, measured = plain(guess), plain(measured.item() if hasattr(measured, "item") else measured)
    if isinstance(guess, str):
        guess = word(guess)
        guess = YES_OR_NO.get(guess, guess) if isinstance(measured, bool) else guess
    choices = LETTERS[: len(bounds) + 1]
    _check(guess, measured, unit, choices if bounds else one_of)
    in_unit = f" {unit}" if unit else ""
    line = spoken(f"result: {readable(measured)}{in_unit}")
    if isinstance(measured, float) and not math.isfinite(measured):
        print(line + spoken(", which is not finite: no prediction is compared with it"))
        return
    answer = measured
    if bounds:
        line += spoken(f", which is {choices[bisect_right(bounds, measured)]}")
        answer = choices[bisect_right(bounds, measured)] if isinstance(guess, str) else measured
    how_far = "" if guess is None else _distance(guess, answer)
    if guess is not None:
        told = "" if isinstance(guess, str | bool) else in_unit
        line += spoken(f" · you said {readable(guess)}{told}: {how_far}")
    print(line)
    caller = sys._getframe(1)
    n_choices = 2 if isinstance(answer, bool) else len(choices if bounds else one_of)
    keep((caller.f_code.co_filename, caller.f_lineno), Prediction(guess, answer, unit, how_far, n_choices))
    if room is not None:
        show_room(room, measured, unit, list(choices) if bounds else list(one_of), bounds)


def _check(guess: object, measured: object, unit: str, offered: Sequence[str]) -> None:
    if guess is None:
        return
    if isinstance(guess, list) and 1 < len(guess) < 6 and all(type(part) is int for part in guess):  # 4,5 is a pair
        ways = [f"the decimal point is a point, my_guess = {guess[0]}.{guess[1]}"] if len(guess) == 2 else []
        if all(100 <= part <= 999 for part in guess[1:]):
            ways.append(f"thousands go without a comma, my_guess = {''.join(map(str, guess))}")
        got = ", ".join(map(str, guess))
        raise ValueError(f"my_guess should be one number or None, got several, ({got}): in Python {'; '.join(ways)}")
    a_number = isinstance(guess, Real) and not isinstance(guess, bool) and abs(guess) < LARGEST
    if isinstance(measured, bool):
        kind, fits = "True or False", isinstance(guess, bool)
    elif offered:
        kind, fits = f"one of {', '.join(map(repr, offered))},", guess in map(word, offered)
        fits = fits or (a_number and isinstance(measured, Real))
    elif isinstance(measured, str):
        letter = len(word(measured)) == 1
        kind = 'the letter of a choice, such as "a",' if letter else "a word in quotes"
        fits = isinstance(guess, str) and (len(guess) == 1 if letter else len(guess) <= LONGEST)
    else:
        kind, fits = f"a number ({unit})" if unit else "a number", a_number
        kind += ", without quotes and with a point before the decimals," if isinstance(guess, str) else ""
    if not fits:
        raise ValueError(f"my_guess should be {kind} or None, got {cut(repr(guess))}")


def _distance(guess: float | str | bool, measured: float | str | bool) -> str:
    if isinstance(measured, str | bool):
        right = measured if isinstance(measured, bool) else word(measured)
        return "right" if guess == right else "not this time. Why?"
    if math.isclose(guess, measured, rel_tol=CLOSE):
        return f"within {CLOSE:.0%}. Well seen"
    if isinstance(measured, int) and measured < FEW and guess == int(guess):
        away = abs(int(guess) - measured)
        return f"{away} too high" if guess > measured else f"{away} too low"
    if measured <= 0 or guess <= 0:
        return f"off by {readable(float(abs(guess - measured)))}"
    ratio = guess / measured
    return f"{readable(ratio)} times too high" if ratio > 1 else f"{readable(1 / ratio)} times too low"
