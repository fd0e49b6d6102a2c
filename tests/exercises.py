"""What every exercise's check must do: know a stub, pass a right answer made another way, catch an injected mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from helpers.classroom import NOT_ATTEMPTED, RIGHT, WRONG, verdict


def stub(*_arguments):
    raise NotImplementedError


def test_of(right: dict[str, Callable[..., Any]], mistakes: Sequence[tuple[str, Callable[..., Any], str]]) -> Callable:
    """The test of a notebook's checks, to be bound to a name that pytest collects.

    right     exercise -> an answer that passes
    mistakes  (exercise, an answer that is refused, what the message says), at least three for each exercise
    """
    assert all(sum(mistake[0] == name for mistake in mistakes) >= 3 for name in right), (
        "three mistakes for each, please"
    )
    cases = [pytest.param(name, answer, None, id=f"{name}-right") for name, answer in right.items()]
    cases += [pytest.param(*mistake, id=f"{mistake[0]}-{i}") for i, mistake in enumerate(mistakes)]

    @pytest.mark.parametrize(("name", "answer", "says"), cases)
    def test(name: str, answer: Callable[..., Any], says: str | None) -> None:
        found = verdict(name, answer)
        if says is None:
            assert found == f"{RIGHT}." and verdict(name, stub).startswith(NOT_ATTEMPTED)
        else:
            assert found.startswith(WRONG) and says in found

    return test
