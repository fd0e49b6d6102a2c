"""What a room predicted, beside what was measured: one line of text, and the figure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from helpers.classroom import plots
from helpers.classroom.exercises.answers import (
    Reader,
    choice_reader,
    number_reader,
    range_reader,
    read_word,
    read_yes_or_no,
    word,
)
from helpers.classroom.exercises.record import CLOSE
from helpers.classroom.exercises.room import Room, read_room
from helpers.classroom.exercises.room_figure import answer_bars, dots
from helpers.classroom.pages import readable
from helpers.language import spoken

SHOWN = 5  # answers that could not be read


def show_room(
    room: Any, measured: float | str | bool, unit: str, offered: Sequence[str], bounds: Sequence[float]
) -> None:
    """Print what the room's answers say and draw them. Arguments as of `reveal`; `offered` are letters with `bounds`.

    ValueError: as of `read_room`.
    """
    if bounds:
        letter = offered[bisect_right(bounds, measured)]
        read = range_reader("".join(offered), lambda x: offered[bisect_right(bounds, x)], number_reader(measured, unit))
        _show_answers(read_room(room, read), letter, offered)
    elif isinstance(measured, bool):
        offered = readable(True), readable(False)
        _show_answers(read_room(room, lambda text: _named(read_yes_or_no(text))), readable(measured), offered)
    elif isinstance(measured, str):
        names = {word(name): name for name in offered}
        read: Reader = choice_reader(offered) if offered else read_word
        _show_answers(read_room(room, read), names.get(word(measured), word(measured)), offered)
    else:
        _show_numbers(read_room(room, number_reader(measured, unit)), measured, unit)


def _named(answer: bool | None) -> str | None:
    return None if answer is None else readable(answer)


def _show_numbers(room: Room, measured: float, unit: str) -> None:
    guesses = room.guesses
    if not guesses:
        print(spoken("the room: no prediction") + _not_read(room))
        return
    near = [math.isclose(guess, measured, rel_tol=CLOSE) for guess in guesses]
    above = sum(guess > measured and not hit for guess, hit in zip(guesses, near, strict=True))
    said = f"{sum(near)} of {len(guesses)} within {CLOSE:.0%}"
    sides = f"{above} above, {len(guesses) - above - sum(near)} below"
    middle = f"median {readable(float(median(guesses)))}{f' {unit}' if unit else ''}"
    print(spoken(f"the room: {said} ({sum(near) / len(guesses):.0%}) · {sides} · {middle}") + _not_read(room))
    low, high = readable(min(guesses)), readable(max(guesses))
    alt = spoken(
        f"A dot for each of {len(guesses)} predictions between {low} and {high}, a line at the measured value."
    )
    parts = spoken(f"{said} · {sides}")
    plots.show(dots(guesses, measured, unit, near, parts), alt + " " + parts)


def _show_answers(room: Room, measured: str, offered: Sequence[str]) -> None:
    if not room.guesses:
        print(spoken("the room: no prediction") + _not_read(room))
        return
    counts = Counter(room.guesses)
    said = f"{counts[measured]} of {len(room.guesses)} said {measured}"
    print(spoken(f"the room: {said} ({counts[measured] / len(room.guesses):.0%})") + _not_read(room))
    each = ", ".join(f"{name} {n}" for name, n in counts.most_common(SHOWN))
    alt = f"A bar for each answer of the room: {each}. Measured: {measured}."
    plots.show(answer_bars(room.guesses, measured, offered, spoken(f"{said}, as measured")), spoken(alt))


def _not_read(room: Room) -> str:
    """What is missing among the guesses, and why."""
    said = f" · {spoken(room.remark)}" if room.remark else ""
    if room.unread:
        shown = ", ".join([*map(repr, room.unread[:SHOWN]), *["..."] * (len(room.unread) > SHOWN)])
        said += " · " + spoken(f"not read: {len(room.unread)} ({shown})")
    return said + (" · " + spoken(f"empty: {room.n_empty}") if room.n_empty else "")
