"""The learning rate: by hand, against torch's own schedulers, and at its edges."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.gpt import Schedule


def test_by_hand():
    schedule = Schedule(peak=8.0, n_steps=7, warmup_steps=2, min_lr_ratio=0.25)
    assert [schedule(step) for step in range(9)] == pytest.approx(
        [4, 8, 8, 5 + 3 * math.sqrt(0.5), 5, 5 - 3 * math.sqrt(0.5), 2, 2, 2]
    )


def test_equals_the_schedulers_of_torch():
    """LinearLR, then CosineAnnealingLR, each stepped in turn."""
    n_steps, warmup, peak, min_lr_ratio = 23, 5, 3e-3, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    up = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps - 1 - warmup, peak * min_lr_ratio)
    rates = []
    for step in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < warmup - 1:
            up.step()
        elif step >= warmup:
            down.step()
    schedule = Schedule(peak, n_steps, warmup, min_lr_ratio)
    assert [schedule(step) for step in range(n_steps)] == pytest.approx(rates, rel=1e-9)


def test_a_run_that_is_all_warm_up_ends_at_its_peak():
    for n_steps, warmup in ((1, 0), (1, 1), (4, 3), (4, 4)):
        assert Schedule(2.0, n_steps, warmup)(n_steps - 1) == 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"peak": 0},
        {"peak": math.inf},
        {"peak": math.nan},
        {"peak": "0.1"},
        {"peak": 10**400},
        {"peak": True},
        {"min_lr_ratio": None},
        {"n_steps": 0},
        {"warmup_steps": -1},
        {"warmup_steps": 11},
        {"min_lr_ratio": -0.1},
        {"min_lr_ratio": 1.1},
        {"min_lr_ratio": math.nan},
    ],
)
def test_refuses(changes):
    with pytest.raises(ValueError, match=str(next(iter(changes.values())))):
        Schedule(**{"peak": 1.0, "n_steps": 10} | changes)


def test_refuses_a_step_before_the_first():
    with pytest.raises(ValueError, match="from 0, got -1"):
        Schedule(1.0, 10)(-1)


def test_the_highest_rate_that_a_float_holds_is_no_infinity():
    assert Schedule(1.5e308, 10)(0) == 1.5e308
