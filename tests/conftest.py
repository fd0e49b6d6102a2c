"""What every test starts from: a seed, one thread setting, English, no display."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def seeded_and_tidy():
    import matplotlib.pyplot as plt

    from helpers import language, runtime

    runtime.start(seed=0)
    yield
    plt.close("all")
    language.choose(language.ENGLISH)
