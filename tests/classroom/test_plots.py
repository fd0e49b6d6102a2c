"""Figures take plain data, return their Axes, and never reach the reader without alternative text."""

import base64

import matplotlib.pyplot as plt

from helpers.classroom import plots
from tests.support import refusals


def test_bars_show_each_number_and_mark_the_chosen_one():
    ax = plots.bars(["a", "b"], [0.25, 0.75], title="claim", xlabel="probability", highlight=[1])
    assert [t.get_text() for t in ax.texts] == ["0.250", "0.750"]
    assert [bar.get_hatch() for bar in ax.patches] == [None, "//"]
    assert ax.get_title(loc=plt.rcParams["axes.titlelocation"]) == "claim"


def test_lines_and_reference():
    given = plt.figure().add_subplot()
    curves = {"one": ([1, 2], [3, 4]), "two": ([1, 2], [4, 3])}
    ax = plots.lines(curves, title="t", xlabel="x", ylabel="y", logx=True, ax=given)
    assert ax is given and plots.reference_line(ax, 3.5, "ln V") is ax
    assert ax.get_xscale() == "log" and ax.texts[-1].get_text() == "ln V"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "two"]


X = {"title": "t", "xlabel": "x"}
XY = X | {"ylabel": "y"}


test_refuses = refusals(
    (lambda: plots.bars(["a"], [1, 2], **X), "1 labels"),
    (lambda: plots.bars([], [], **X), "one value per label"),
    (lambda: plots.bars(["a"], [1], **X, highlight=[1]), "bars 0 to 0"),
    (lambda: plots.lines({}, **XY), "at least one"),
    (lambda: plots.lines({"a": ([1], [1, 2])}, **XY), "'a'"),
    (lambda: plots.reference_line(plt.figure().add_subplot(), 1, "", axis="z"), "'z'"),
    (lambda: plots.show(plt.figure(), " "), "alternative text"),
    (lambda: plots.reliability({}, title=""), "named groups, got 0"),
    (lambda: plots.token_grid([["a"]], [[1, 2]], rows=["r"], columns=["c"], **X, shade=""), r"\(1, 1\)"),
    (lambda: plots.scores_in_the_plane([0, 0], [[1, 1]], ["a"], title=""), "not zero"),
    (lambda: plots.scores_in_the_plane([1, 0], [[1, 1]], ["a", "b"], title=""), r"\(2, 2\)"),
    (lambda: plots.labelled_cloud({}, {}, **XY), "1 to 3 groups"),
    (lambda: plots.labelled_cloud({"g": ([1], [1, 2])}, {}, **XY), "'g'"),
)


def test_show_displays_once_with_alt_and_closes(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    plots.show(plots.lines({"one": ([1], [1])}, **XY), alt='a dot, "alone"')
    assert len(shown) == 1 and shown[0]["text/plain"] == 'figure: a dot, "alone"'
    assert shown[0]["text/html"].startswith('<img alt="a dot, &quot;alone&quot;" width="')
    png = base64.b64decode(shown[0]["text/html"].split("base64,")[1].split('"')[0])
    assert png.startswith(b"\x89PNG")
    assert not plt.get_fignums()


def test_token_grid_writes_every_token_and_leaves_nan_blank():
    ax = plots.token_grid(
        [["a", "b", ""], ["c", "d", "e"]], [[0.1, 0.9, float("nan")], [0.2, 0.3, 0.4]],
        rows=["below", "above"], columns=["x", "y", "z"], **X, shade="p",
    )  # fmt: skip
    assert [t.get_text() for t in ax.texts] == ["a", "b", "", "c", "d", "e"]
    assert ax.texts[1].get_color() == "white" != ax.texts[0].get_color()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["below", "above"]


def test_what_points_are_called():
    ax = plots.scores_in_the_plane([2, 1], [[1, 1], [0.5, -1], [-1, 1]], ["a", "b", "c"], title="t")
    assert {"a: 3", "b: 0", "c: -1", "h"} <= {t.get_text() for t in ax.texts}, "dot products"
    ax = plots.labelled_cloud({"g": ([1, 2], [3, 4])}, {"two": (2, 4)}, **XY)
    assert ax.texts[0].get_text() == "two" and ax.texts[0].xy == (2, 4)


def test_dollars_are_no_mathematics_and_powers_of_ten_are():
    """`$$` is a token of GPT-2, and no formula that matplotlib can read."""
    said = {"title": "R$ 1 a R$ 2", "xlabel": "$$"}
    names = {"rows": ["$a$"], "columns": ["$$", "R$ 1 e R$ 2"], "shade": "$s$"}
    ax = plots.token_grid([["$$", "$1 to $2"]], [[1, 2]], **names, **said)
    costs = plots.lines({"$$": ([1, 1e6], [1e-9, 1]), "b": ([1, 2], [3, 4])}, **said, ylabel="$$", logx=True)
    for drawn in (ax, costs):
        assert plots.bundle(plots.reference_line(drawn, 1, "$$"), "alt")["text/html"].startswith("<img")
    ticks = {text.get_text() for text in costs.get_xticklabels() if text.get_parse_math()}
    assert any("mathdefault" in text for text in ticks)
    words = [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), costs.title]
    assert not any(text.get_parse_math() for text in words)


def test_reliability_draws_the_diagonal_and_sizes_by_number():
    ax = plots.reliability({"one": ([0.2, 0.9], [0.2, 0.5], [10, 30])}, title="t")
    assert list(ax.lines[0].get_xdata()) == list(ax.lines[0].get_ydata()) == [0, 1]
    small, large = ax.collections[0].get_sizes()
    assert small < large
