"""What every exercise's check must do: know a stub, pass a right answer made another way, catch a planted mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from helpers.classroom import NOT_ATTEMPTED, RIGHT, WRONG, verdict

Planted = Sequence[tuple[str, Callable[..., Any], str]]


def names(mistakes: Planted) -> list[str]:
    """Test ids of planted mistakes."""
    return [f"{mistake[0]}-{i}" for i, mistake in enumerate(mistakes)]


def assert_passes_and_knows_its_stub(name: str, right_answer: Callable[..., Any]) -> None:
    def stub(*_arguments):
        raise NotImplementedError

    assert verdict(name, right_answer) == f"{RIGHT}."
    assert verdict(name, stub).startswith(NOT_ATTEMPTED)


def assert_caught(name: str, answer: Callable[..., Any], says: str) -> None:
    """The check refuses `answer`, and its message holds one of the phrases of `says`, which "|" separates."""
    found = verdict(name, answer)
    assert found.startswith(WRONG) and any(phrase in found for phrase in says.split("|")), found


def tests_of(right_answers: dict[str, Callable[..., Any]], mistakes: Planted) -> tuple[Callable[..., None], ...]:
    """The three tests that every page of exercises needs, to be bound to names that pytest collects."""

    @pytest.mark.parametrize("name", right_answers)
    def passes_and_knows_its_stub(name: str) -> None:
        assert_passes_and_knows_its_stub(name, right_answers[name])

    @pytest.mark.parametrize(("name", "answer", "says"), mistakes, ids=names(mistakes))
    def planted_mistake_is_caught(name: str, answer: Callable[..., Any], says: str) -> None:
        assert_caught(name, answer, says)

    def at_least_three_mistakes_are_planted_in_each() -> None:
        assert all(sum(mistake[0] == name for mistake in mistakes) >= 3 for name in right_answers)

    return passes_and_knows_its_stub, planted_mistake_is_caught, at_least_three_mistakes_are_planted_in_each
