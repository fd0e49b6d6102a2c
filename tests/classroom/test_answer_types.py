"""Of all exercises: many ways of solving them pass, many mistakes do not, and no right answer fails for its type."""

import importlib
import re
from fractions import Fraction
from itertools import count, product
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.classroom import RIGHT, WRONG, exercises, verdict
from tests.exercises import solution

CHECKS = exercises.grader.CHECKS
MODULES = [
    importlib.import_module(f"{__package__}.{path.stem}") for path in Path(__file__).parent.glob("test_checks_*.py")
]
NO_VALUE = {"t2-accumulate", "c2-atomic-write"}  # these return nothing
IN_PLACE = {"l1-two-views"}  # another type is a copy, which is this exercise's mistake


def each(make):
    """`make` applied to each number and truth value, in whatever lists and tuples they stand."""

    def dress(value):
        value = value.detach() if isinstance(value, torch.Tensor) else value
        value = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(value, list | tuple | set):
            return type(value)(map(dress, value))
        return make(value) if isinstance(value, bool | int | float | Fraction) else value

    return dress


def whole(make):
    """`make` applied to all of it, or to its parts where words are among them or the lengths differ."""

    def dress(value):
        value = each(lambda x: x)(value)
        if not isinstance(value, list | tuple | set):
            return make(value) if isinstance(value, int | float) else value
        try:
            if "'" not in repr(value):
                return make(value)
        except (TypeError, ValueError):
            pass
        return [dress(part) for part in value]

    return dress


DRESSES = {
    "plain": each(lambda x: x),
    "numpy": whole(np.array),
    "numpy's scalars": each(lambda x: np.array(x)[()]),
    "numpy in float32": whole(lambda x: np.array(x, dtype=bool if isinstance(x, bool) else np.float32)),
    "torch": whole(torch.tensor),
    "torch in float32": whole(lambda x: torch.tensor(x, dtype=torch.float32)),
    "torch in float64": whole(lambda x: torch.tensor(x, dtype=torch.float64)),
    "torch's scalars": each(torch.tensor),
    "wants a gradient": whole(lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True)),
    "fractions": each(lambda x: Fraction(x) if isinstance(x, float) and abs(x) < 1e300 else x),
    "tuples": whole(lambda x: tuple(x) if isinstance(x, list) else x),
}


def test_there_are_many_ways_right_and_wrong():
    right, wrong = (
        {k: v for m in MODULES for k, v in getattr(m, kind).items()} for kind in ("RIGHT_ANSWERS", "MISTAKES")
    )
    assert right.keys() == wrong.keys() == CHECKS.keys()
    n_right, n_wrong = (sum(map(len, ways.values())) for ways in (right, wrong))  # beside the notebooks' solutions
    assert n_right >= 200 and n_wrong >= 100, (n_right, n_wrong)


@pytest.mark.parametrize("dress", DRESSES)
def test_no_right_answer_fails_for_its_type(dress):
    refused = {}
    for name in CHECKS.keys() - NO_VALUE - IN_PLACE:
        answer = solution(name)
        says = verdict(name, lambda *given, answer=answer: DRESSES[dress](answer(*given)))
        if says != f"{RIGHT}.":
            refused[name] = says
    assert refused == {}


ODD = ("42", [], {1}, (x for x in "ab"), object())


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - NO_VALUE))
def test_what_is_no_answer_is_told_by_its_type(name):
    for odd in ODD:
        says = verdict(name, lambda *_, odd=odd: odd)
        assert says.startswith(WRONG) and "The check cannot read" not in says, says
        assert type(odd).__name__ in says or " of them" in says or "(0,)" in says, says


NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
TOLD = re.compile(r"\b(?:expected|should)\b(.*?)\bgot (.*?)(?: \(|[.?] [A-Z]|$)")


def nudged(name, by, which):
    """The solution, each number of its answers a little off, or only the one at `which`."""
    answer = solution(name)

    def nudge(*given):
        numbers, value = count(), answer(*given)
        if name == "t2-accumulate":
            given[0].table.grad *= 1 + by
            return None
        moved = each(lambda x: x if isinstance(x, bool) or which not in (None, next(numbers)) else x * (1 + by))
        return moved(value)

    return nudge


def told_apart(says):
    """Whether what was expected and what came differ as they are written."""
    *_, told = TOLD.findall(says)
    wanted, came = ([float(n.replace(",", "")) for n in NUMBER.findall(part)] for part in told)
    return wanted != came and (len(wanted) == len(came) or not set(came) <= set(wanted))


def test_a_number_that_is_a_little_off_is_written_with_digits_until_it_differs():
    refused = {}
    for name, size, sign, which in product(CHECKS, (3e-5, 1e-4, 3e-4, 1e-3), (1, -1), (None, 0, 1, 2, 21)):
        says = verdict(name, nudged(name, sign * size, which))
        if "expected" in says or TOLD.search(says):
            refused.setdefault(name, []).append(says)
    assert len(refused) > 40, refused.keys()
    assert [says for name in refused for says in refused[name] if not TOLD.search(says) or not told_apart(says)] == []
