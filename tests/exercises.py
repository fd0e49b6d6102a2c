"""What every exercise's check must do: pass right answers of many kinds, and name the slip of each wrong one.

The solution in the notebook is the first right answer. Others, and the mistakes, are edits of its source,
(old, new, ...), or functions; one that makes a mistake gets the solution before what the check hands over.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.classroom import RIGHT, WRONG, verdict
from tools.notebooks import NOTEBOOKS, numbered

Answer = Callable[..., Any]
Way = Answer | tuple[str, ...]
CHECK_CALL = re.compile(r"^check\(\"([\w-]+)\", (\w+)\)$", re.MULTILINE)
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.DOTALL)
NAMES = {"math": math, "re": re, "np": np, "torch": torch, "F": F}  # what an edit may use


class Exercise(NamedTuple):
    """As it stands in its notebook: the function's name, the cell to fill, and the hints and the solution below it."""

    notebook: str
    function: str
    stub: str
    folded: str


def exercises_in(path: Path) -> dict[str, Exercise]:
    found, cells = {}, json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and (call := CHECK_CALL.search(source)):
            assert after and after["cell_type"] == "markdown", f"{call[1]}: no folded help after the exercise"
            found[call[1]] = Exercise(path.stem, call[2], source[: call.start()], "".join(after["source"]))
    return found


EXERCISES: dict[str, Exercise] = {}
for notebook in numbered(NOTEBOOKS):
    EXERCISES |= exercises_in(notebook)


def solution(name: str, *edits: str) -> Answer:
    """The notebook's solution of an exercise, after edits (old, new, old, new, ...); each old stands there once.

    As it is it brings its own imports; an edit may use NAMES.
    """
    (source,) = SOLUTION.findall(EXERCISES[name].folded)
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert source.count(old) == 1, f"{name}: {old!r} stands {source.count(old)} times in\n{source}"
        source = source.replace(old, new)
    names = dict(NAMES) if edits else {}
    exec(source, names)
    return names[EXERCISES[name].function]


def test_of(right: Mapping[str, Sequence[Way]], mistakes: Mapping[str, Mapping[str, Way]]) -> Callable:
    """The test of a notebook's checks, to be bound to a name that pytest collects.

    right     exercise -> at least two more ways that pass, of those that people choose
    mistakes  exercise -> what the message says -> the mistake, at least three
    """
    assert right.keys() == mistakes.keys()
    assert all(len(right[name]) >= 2 and len(mistakes[name]) >= 3 for name in right), "two right, three wrong, please"
    cases = [
        pytest.param(name, way, None, id=f"{name}-right-{i}") for name in right for i, way in enumerate(right[name])
    ]
    cases += [
        pytest.param(name, way, says, id=f"{name}-{i}")
        for name in mistakes
        for i, (says, way) in enumerate(mistakes[name].items())
    ]

    @pytest.mark.parametrize(("name", "way", "says"), cases)
    def test(name: str, way: Way, says: str | None) -> None:
        if isinstance(way, tuple):
            answer = solution(name, *way)
        else:
            answer = way if says is None else partial(way, solution(name))
        found = verdict(name, answer)
        if says is None:
            assert found == f"{RIGHT}."
        else:
            assert found.startswith(WRONG) and says in found

    return test
