"""What every exercise's check must do: know a stub, pass right answers of many kinds, catch an injected mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from helpers.classroom import NOT_ATTEMPTED, RIGHT, WRONG, verdict

Answer = Callable[..., Any]


def stub(*_arguments):
    raise NotImplementedError


def test_of(right: Mapping[str, Sequence[Answer]], mistakes: Sequence[tuple[str, Answer, str]]) -> Callable:
    """The test of a notebook's checks, to be bound to a name that pytest collects.

    right     exercise -> answers that pass, at least three: ways of solving it that people choose
    mistakes  (exercise, an answer that is refused, what the message says), at least three for each exercise
    """
    assert all(len(right[name]) >= 3 and sum(m[0] == name for m in mistakes) >= 3 for name in right), "three, please"
    cases = [
        pytest.param(name, answer, None, id=f"{name}-right-{i}")
        for name in right
        for i, answer in enumerate(right[name])
    ]
    cases += [pytest.param(*mistake, id=f"{mistake[0]}-{i}") for i, mistake in enumerate(mistakes)]

    @pytest.mark.parametrize(("name", "answer", "says"), cases)
    def test(name: str, answer: Answer, says: str | None) -> None:
        found = verdict(name, answer)
        if says is None:
            assert found == f"{RIGHT}." and verdict(name, stub).startswith(NOT_ATTEMPTED)
        else:
            assert found.startswith(WRONG) and says in found

    return test
