"""What every exercise's check must do: know a stub, pass a right answer made another way, catch a planted mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from helpers.checks import NOT_ATTEMPTED, RIGHT, WRONG, verdict

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
