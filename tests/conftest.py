"""What every test starts from: a seed, one thread setting, no display."""

from __future__ import annotations

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def seeded_and_tidy():
    import matplotlib.pyplot as plt

    from helpers import runtime

    runtime.start(seed=0)
    yield
    plt.close("all")
