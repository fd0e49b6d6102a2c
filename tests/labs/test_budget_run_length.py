"""The length of a run from its hours: notebooks 08 and 09 plan a T4 with it."""

import pytest

from helpers.labs import budget


def test_a_run_fills_its_hours_and_no_more():
    n_updates, tokens = budget.updates_within(4, 7000.0, 24_576), 24_576 / 7000
    assert n_updates * tokens <= 4 * 3600 < (n_updates + 1) * tokens
    assert budget.updates_within(0.001, 10.0, 1e6) == 1
    assert budget.cost(200_000 * 256, budget.REPORTED_T4_TOKENS_PER_S, 0.0).hours == pytest.approx(2)
    with pytest.raises(ValueError, match="above 0"):
        budget.updates_within(1, float("nan"), 1)
