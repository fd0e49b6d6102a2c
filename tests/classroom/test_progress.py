"""Progress is silent where nobody watches, passes every record on, and leaves the page as it found it."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import IPython
import matplotlib.pyplot as plt
import pytest

from helpers.classroom import progress
from helpers.gpt import Evaluation, Update
from tests.support import refused

UPDATES = [Update(step, 0, 10 * step + 10, 3.0 - step, 0.1, 1.0, "float32") for step in range(3)]
RECORDS = [Evaluation(0, 0, 3.5, 9), *UPDATES, Evaluation(3, 30, 0.5, 9)]


class Shell:
    """As much of a notebook's shell as progress looks at."""

    kernel = object()


@pytest.fixture
def notebook(monkeypatch):
    """A notebook that someone watches: returns what is displayed and updated, in order."""
    plt.switch_backend("Agg")  # while there is no shell into which matplotlib would hook itself
    shown = []

    def display(content, raw, display_id):
        shown.append(("display", content))
        return SimpleNamespace(update=lambda content, raw: shown.append(("update", content)))

    monkeypatch.setenv(progress.QUIET_VARIABLE, "0")
    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell())
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "tqdm", MagicMock())
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    return shown


@pytest.mark.parametrize(
    ("quiet", "under_pytest", "terminal", "in_notebook", "expected"),
    [
        (None, True, True, True, False),
        (None, False, True, False, True),
        (None, False, False, True, True),
        (None, False, False, False, False),
        ("1", False, True, True, False),
        ("0", True, False, False, True),
    ],
)
def test_who_watches(monkeypatch, capsys, quiet, under_pytest, terminal, in_notebook, expected):
    for name, value in ((progress.QUIET_VARIABLE, quiet), ("PYTEST_VERSION", "9" if under_pytest else None)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell() if in_notebook else None)
    tqdm = MagicMock()
    with monkeypatch.context() as patched:
        patched.setattr(progress, "tqdm", tqdm)
        assert list(progress.bar(RECORDS, 3)) == RECORDS
    assert tqdm.call_args.kwargs["disable"] != expected
    if not expected:
        assert list(progress.bar(RECORDS, 3)) == list(progress.live(RECORDS, 3)) == RECORDS
        assert capsys.readouterr() == ("", "") and not plt.get_fignums()


def test_a_bar_on_request(capsys, monkeypatch):
    monkeypatch.setenv(progress.QUIET_VARIABLE, "0")
    assert list(progress.bar(RECORDS, n_steps=5, done=2)) == RECORDS
    last = capsys.readouterr().err.split("\r")[-1]
    assert "5/5" in last and "loss=1.000" in last and "validation=0.500" in last


def test_the_live_figure_is_one_display_and_empty_at_the_end(notebook):
    assert list(progress.live(RECORDS, 3, {"floor": 0.4})) == RECORDS
    *figures, (_, last) = notebook
    assert [kind for kind, _ in notebook] == ["display", *["update"] * 5] and last == {"text/plain": ""}
    for value, (_, shown) in zip(("3.500", "3.500", "3.500", "3.500", "0.500"), figures, strict=True):
        assert shown["text/plain"] == f"figure: loss curves so far, the last one {value} nats per token"
        assert "<img" in shown["text/html"]
    assert not plt.get_fignums()


def test_the_live_figure_is_redrawn_now_and_then_only(notebook, monkeypatch):
    clock = iter([0.5, 100.0, 100.2, 100.4, 100.9, 101.3, 101.6])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 1.0)
    list(progress.live(RECORDS, 3))  # looks: 0.5, 100 (draws, till 100.2), 100.4, 100.9, 101.3 (draws, till 101.6)
    assert [kind for kind, _ in notebook] == ["display", "update", "update"]


def test_the_figure_goes_also_where_a_run_is_broken_off(notebook):
    def run():
        yield from RECORDS[:2]
        raise FloatingPointError

    watching = progress.live(run(), 3)
    next(watching)
    watching.close()
    assert notebook[-1] == ("update", {"text/plain": ""})
    with pytest.raises(FloatingPointError):
        list(progress.live(run(), 3))
    assert notebook[-1] == ("update", {"text/plain": ""}) and len(notebook) > 3


def test_loss_figure_has_two_curves_and_its_reference_lines():
    ax = progress.loss_figure(iter(RECORDS), "Falls", {"ln V": 4.0, "entropy": 0.4})
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["training, this batch"].get_xydata().tolist() == [[0, 3], [1, 2], [2, 1]]
    assert lines["validation"].get_xydata().tolist() == [[0, 3.5], [3, 0.5]]
    assert {line.get_ydata()[0] for name, line in lines.items() if name.startswith("_")} == {4.0, 0.4}
    assert {text.get_text() for text in ax.texts} == {"ln V", "entropy"}
    assert (ax.get_title(loc="left") or ax.get_title(), ax.get_xlabel()) == ("Falls", "updates made")
    assert "nats" in ax.get_ylabel()
    (line,) = progress.loss_figure(UPDATES, "No validation").get_lines()
    assert line.get_label() == "training, this batch"
    refused("at least one", progress.loss_figure, [], "Nothing")
