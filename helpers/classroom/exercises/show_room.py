"""What a room predicted, beside the result: one line of text, and a figure that is read from the last row."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from helpers.classroom import plots
from helpers.classroom.exercises.answers import choice_reader, number_reader, read_yes_or_no, word
from helpers.classroom.exercises.grader import cut
from helpers.classroom.exercises.record import CLOSE
from helpers.classroom.exercises.room import Room, read_room
from helpers.classroom.pages import readable
from helpers.language import spoken

SHOWN = 5  # answers that could not be read
SIZE = (11.2, 4.7)  # inches of 100 pixels: a projector of 1280 x 600 shows it whole
TYPE = {"font.size": 18, "axes.titlesize": 21, "axes.labelsize": 19}
N_BINS, FEW = 36, 8  # columns of dots; the dots that a column has room for before they shrink
SMALLEST = 5  # points of a dot; in a taller column they overlap
SPANS = 30  # largest over smallest from which an axis is logarithmic
MAX_BARS = 7
ROOM_TYPE = {**TYPE, "axes.titleweight": "bold", "axes.titlelocation": "left"}


def show_room(
    room: Any, measured: float | str | bool, unit: str, offered: Sequence[str], bounds: Sequence[float]
) -> None:
    """Print what the room's answers say and draw them. Arguments as of `reveal`; `offered` are letters with `bounds`.

    ValueError: as of `read_room`.
    """
    if bounds:
        choice, number = choice_reader(offered), number_reader(measured, unit)

        def read(answer: str) -> str | None:  # the letter of a range, or a number, which lies in one of them
            value = choice(answer) or number(answer)
            return offered[bisect_right(bounds, value)] if isinstance(value, float) else value

        answers, right = read_room(room, read), offered[bisect_right(bounds, measured)]
    elif isinstance(measured, bool):
        said = {True: readable(True), False: readable(False)}
        answers, right = read_room(room, lambda text: said.get(read_yes_or_no(text))), said[measured]
        offered = list(said.values())
    elif isinstance(measured, str):
        names = {word(name): name for name in offered}
        answers, right = read_room(room, choice_reader(offered)), names.get(word(measured), word(measured))
    else:
        answers, right = read_room(room, number_reader(measured, unit)), None
    if not answers.guesses:
        print(spoken("the room: no prediction") + _not_read(answers))
    elif right is None:
        _show_numbers(answers, measured, unit)
    else:
        _show_answers(answers, right, offered)


def _show_numbers(room: Room, measured: float, unit: str) -> None:
    guesses = room.guesses
    near = [math.isclose(guess, measured, rel_tol=CLOSE) for guess in guesses]
    above = sum(guess > measured and not hit for guess, hit in zip(guesses, near, strict=True))
    said = f"{sum(near)} of {len(guesses)} within {CLOSE:.0%}"
    sides = f"{above} above, {len(guesses) - above - sum(near)} below"
    middle = f"median {readable(float(median(guesses)))}{f' {unit}' if unit else ''}"
    print(spoken(f"the room: {said} ({sum(near) / len(guesses):.0%}) · {sides} · {middle}") + _not_read(room))
    low, high = readable(min(guesses)), readable(max(guesses))
    alt = spoken(f"A dot for each of {len(guesses)} predictions between {low} and {high}, a line at the result.")
    parts = spoken(f"{said} · {sides}")
    plots.show(_dots(guesses, measured, unit, near, parts), alt + " " + parts)


def _show_answers(room: Room, measured: str, offered: Sequence[str]) -> None:
    counts = Counter(room.guesses)
    said = f"{counts[measured]} of {len(room.guesses)} said {measured}"
    print(spoken(f"the room: {said} ({counts[measured] / len(room.guesses):.0%})") + _not_read(room))
    each = ", ".join(f"{name} {n}" for name, n in counts.most_common(SHOWN))
    alt = f"A bar for each answer of the room: {each}. Result: {measured}."
    plots.show(_answer_bars(room.guesses, measured, offered, spoken(f"{said}, the result")), spoken(alt))


def _not_read(room: Room) -> str:
    """What is missing among the guesses, and why."""
    said = f" · {spoken(room.remark)}" if room.remark else ""
    if room.unread:
        shown = ", ".join([*(cut(repr(x)) for x in room.unread[:SHOWN]), *["..."] * (len(room.unread) > SHOWN)])
        said += " · " + spoken(f"not read: {len(room.unread)} ({shown})")
    return said + (" · " + spoken(f"empty: {room.n_empty}") if room.n_empty else "")


def _dots(guesses: Sequence[float], measured: float, unit: str, near: Sequence[bool], title: str) -> Axes:
    """A dot for each guess, in columns; the result and the median as lines. `near` guesses are diamonds."""
    values, near = np.asarray(guesses, dtype=float), np.asarray(near, dtype=bool)
    with plt.rc_context(ROOM_TYPE):
        said = title, spoken(f"prediction, {unit}" if unit else "prediction"), spoken("people")
        ax = plots.new_axes(plt.figure(figsize=SIZE, layout="constrained").add_subplot(), *said)
        ax.set_xscale(*_scale(everything := np.append(values, measured)))
        columns = _columns(ax, values, everything)
        heights = np.array([np.sum(columns[: i + 1] == column) for i, column in enumerate(columns)])
        tallest = max(int(heights.max()), FEW)
        points = min(0.9 * 72 * SIZE[0] / N_BINS, 0.62 * 72 * SIZE[1] / (1.35 * tallest))  # a dot's diameter
        points = max(points, SMALLEST)
        for chosen, colour, marker in ((~near, plots.COLOURS[0], "o"), (near, plots.COLOURS[2], "D")):
            ax.scatter(columns[chosen], heights[chosen], s=points**2, color=colour, marker=marker, zorder=3)
        ax.set_ylim(0, 1.35 * tallest)  # room for the two names
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.grid(False, axis="x")
        _line(ax, measured, f"result {readable(measured)}", plots.COLOURS[1], "-", 0.99)
        middle = float(np.median(values))
        _line(ax, middle, f"median {readable(middle)}", "#333333", "--", 0.88)
    return ax


def _scale(values: np.ndarray) -> tuple:
    sizes = np.abs(values[values != 0])
    if not len(sizes) or sizes.max() < SPANS * sizes.min():
        return ("linear",)
    return ("log",) if values.min() > 0 else ("symlog",)


def _columns(ax: Axes, values: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """Where each value's dot stands: whole numbers in a small range where they are, others at their bin's mean."""
    low, high = everything.min(), everything.max()
    if ax.get_xscale() == "linear" and high - low < N_BINS and np.all(values == np.round(values)):
        ax.set_xlim(low - 1, high + 1)
        return values
    scale = ax.xaxis.get_transform()
    ends = scale.transform(np.array([low, high]))
    width = max(float(ends[1] - ends[0]), 1e-9 * max(1.0, abs(float(ends[0])))) / N_BINS
    ax.set_xlim(scale.inverted().transform(ends + np.array([-2, 2]) * width))
    where = scale.transform(values)
    bins = np.minimum((where - ends[0]) // width, N_BINS - 1)
    return scale.inverted().transform(np.array([where[bins == bin_].mean() for bin_ in bins]))


def _line(ax: Axes, value: float, name: str, colour: str, dashes: str, height: float) -> None:
    ax.axvline(value, color=colour, linestyle=dashes, linewidth=3)
    on_the_left = ax.transAxes.inverted().transform(ax.transData.transform((value, 0)))[0] > 0.6
    place = {"xytext": (-8 if on_the_left else 8, 0), "textcoords": "offset points", "va": "top"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    where = {"xycoords": ("data", "axes fraction"), "ha": "right" if on_the_left else "left", "bbox": box}
    ax.annotate(spoken(name), (value, height), color=colour, weight="bold", **place, **where)


def _answer_bars(guesses: Sequence[str], measured: str, offered: Sequence[str], title: str) -> Axes:
    """A bar for each answer that is offered, else for the most frequent ones; the result is hatched and named."""
    counts = Counter(guesses)
    names = list(offered) or [name for name, _ in counts.most_common(MAX_BARS)]
    if measured not in names:
        names.append(measured)
    others = sum(n for name, n in counts.items() if name not in names)
    labels = [spoken(f"{name} (result)") if name == measured else name for name in names]
    labels += [spoken("others")] * bool(others)
    values = [counts[name] for name in names] + [others] * bool(others)
    with plt.rc_context(ROOM_TYPE):
        ax = plt.figure(figsize=SIZE, layout="constrained").add_subplot()
        said = {"title": title, "xlabel": spoken("people"), "ax": ax}
        plots.bars(labels, values, highlight=[names.index(measured)], number="{:.0f}", **said)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return ax
