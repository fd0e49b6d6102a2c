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


def pytest_terminal_summary(terminalreporter):
    """How large the house is, where that was tested. Not from the test: what it prints in a worker, nobody sees."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    if any("test_house.py" in report.nodeid for report in reports):
        from tests.test_house import sizes_told

        terminalreporter.write_line(f"lines of Python: {sizes_told()}")
