"""The length of a run from its hours: notebooks 08 and 09 plan a T4 with it."""

from __future__ import annotations

import pytest

from helpers.labs import budget


def test_a_run_fills_its_hours_and_no_more():
    n_updates = budget.updates_within(4, 7000.0, 3 * 16 * 512)
    assert budget.training_seconds(n_updates * 3 * 16 * 512, 7000.0) <= 4 * budget.SECONDS_PER_HOUR
    assert budget.training_seconds((n_updates + 1) * 3 * 16 * 512, 7000.0) > 4 * budget.SECONDS_PER_HOUR


def test_a_run_has_one_update_at_least():
    assert budget.updates_within(0.001, 10.0, 1e6) == 1


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_a_budget_needs_numbers_above_zero(arguments):
    with pytest.raises(ValueError, match="above 0"):
        budget.updates_within(*arguments)


def test_the_reported_speed_is_an_epoch_of_two_hours():
    """200,000 texts in rows of 256 tokens took the class's T4 about two hours."""
    bill = budget.cost(200_000 * 256, budget.REPORTED_T4_TOKENS_PER_S, 0.0)
    assert bill.hours == pytest.approx(2)
