"""The learning rate: by hand, and at its edges."""

import math

import pytest

from helpers.gpt import Schedule
from tests.support import refusals


def test_by_hand():
    schedule = Schedule(peak=8.0, n_steps=7, warmup_steps=2, min_lr_ratio=0.25)
    half = 3 * math.sqrt(0.5)
    assert [schedule(step) for step in range(9)] == pytest.approx([4, 8, 8, 5 + half, 5, 5 - half, 2, 2, 2])
    for n_steps, warmup in ((1, 0), (1, 1), (4, 3), (4, 4)):  # a run that is all warm-up ends at its peak
        assert Schedule(2.0, n_steps, warmup)(n_steps - 1) == 2.0


WRONG = {
    "peak": [0, math.inf, math.nan, "0.1", 10**400, True],
    "min_lr_ratio": [None, -0.1, 1.1, math.nan],
    "n_steps": [0, 2**63],
    "warmup_steps": [-1, 11],
}
test_refuses = refusals(
    *(
        (lambda name=name, value=value: Schedule(**{"peak": 1.0, "n_steps": 10} | {name: value}), "must be")
        for name, values in WRONG.items()
        for value in values
    ),
    (lambda: Schedule(1.0, 10)(-1), "from 0, got -1"),
    (lambda: Schedule(1.0, 10**400), "2.63 - 1, got a number of 1,329 bits"),
    (lambda: Schedule(1e300, 2**62, 2**62), "peak x warmup_steps must be a finite number"),
)
