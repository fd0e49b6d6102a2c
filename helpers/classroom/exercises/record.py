"""One's own predictions of this notebook beside the results: kept in the kernel, and written only if asked."""

import csv
import math
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median

from helpers.classroom.pages import Html, readable, table
from helpers.language import spoken
from helpers.storage import write_aside

CLOSE = 0.05  # relative distance that counts as a hit
FACTOR = 2
ENOUGH = 5  # misses from which on a tendency is looked for
UNLIKELY = 0.1  # how often a coin would lean so far
COLUMNS = ("prediction", "you said", "result", "unit", "how far")


@dataclass(frozen=True)
class Prediction:
    """A prediction: what was said (None: nothing yet), what came out, how far off it was; n_choices, if offered."""

    guess: float | str | bool | None
    measured: float | str | bool
    unit: str
    how_far: str
    n_choices: int | None


KEPT: dict[object, Prediction] = {}  # by the cell that revealed; of this kernel, which is this notebook's


def keep(cell: object, made: Prediction) -> None:
    """Keep a prediction. The first guess counts: who runs the cell again has seen the result."""
    if cell not in KEPT or KEPT[cell].guess is None:
        KEPT[cell] = made


def predictions(file: str | Path | None = None) -> Html | None:
    """Your predictions of this notebook beside the results, and how well calibrated you were.

    file    where to write them as CSV, if anywhere
    return  a table, or None where there is no prediction yet

    The first guess of each prediction counts.
    """
    made = [(i, p) for i, p in enumerate(KEPT.values(), 1) if p.guess is not None]
    if not made:
        print(
            spoken("no predictions of yours yet: write one after `my_guess =`, run the next cell, then this one again")
        )
        return None
    rows = [[i, readable(p.guess), readable(p.measured), p.unit, p.how_far] for i, p in made]
    if file is not None:
        csv.writer(text := StringIO(newline="")).writerows([COLUMNS, *rows])
        with write_aside(file) as out:
            out.write(text.getvalue().encode())
    numbers = [p for _, p in made if not isinstance(p.measured, str | bool)]
    choices = [p for _, p in made if isinstance(p.measured, str | bool)]
    print(spoken(f"{len(made)} of {len(KEPT)} predictions made"))
    if numbers:
        print(_of_numbers(numbers))
    if choices:
        print(spoken(_of_choices(choices)))
    return table([[*row, spoken(how_far)] for *row, how_far in rows], COLUMNS)


def _of_numbers(made: list[Prediction]) -> str:
    missed = [p for p in made if not math.isclose(p.guess, p.measured, rel_tol=CLOSE)]
    above = sum(p.guess > p.measured for p in missed)
    ratios = [abs(math.log(p.guess / p.measured)) for p in made if p.guess > 0 and p.measured > 0]
    said = [f"numbers: {len(made) - len(missed)} of {len(made)} within {CLOSE:.0%}"]
    if ratios:
        within = sum(ratio <= math.log(FACTOR) * (1 + 1e-9) for ratio in ratios)
        said += [f"within a factor of {FACTOR}: {within} of {len(ratios)}"]
        said += [f"half of them within a factor of {readable(math.exp(median(ratios)))}"]
    said += [f"too high {above}, too low {len(missed) - above}: {_tendency(above, len(missed))}"]
    return " · ".join(map(spoken, said))


def _tendency(above: int, missed: int) -> str:
    """What a sign test says: how often would a fair coin lean as far to one side?"""
    if missed < ENOUGH:
        return "too few to say whether you tend to one side"
    side = max(above, missed - above)
    chance = 2 * sum(math.comb(missed, k) for k in range(side, missed + 1)) / 2**missed
    if chance > UNLIKELY:
        return "no clear tendency to one side"
    return "you tend to guess too high" if above == side else "you tend to guess too low"


def _of_choices(made: list[Prediction]) -> str:
    right = sum(p.how_far == "right" for p in made)
    offered = [p.n_choices for p in made if p.n_choices]
    by_chance = f" (by chance {readable(sum(1 / n for n in offered))})" if len(offered) == len(made) else ""
    return f"choices: {right} of {len(made)} right{by_chance}"
