"""Shaded texts and tables: every number is on the page, whatever was typed is escaped, styles are inline."""

import re

import numpy as np

from helpers import language
from helpers.classroom import pages
from helpers.gpt import preset
from helpers.labs import budget, changes, quantise, scaling
from tests.support import refusals_of


def heatmap(tokens: list, values: list, **how: object) -> str:
    return pages.text_heatmap(tokens, values, **{"label": "surprisal", "unit": "nats"} | how)._repr_html_()


def shades(markup: str) -> list[str]:
    return re.findall(r'nats" style="background-color: (#\w{6})', markup)


def test_every_token_shows_its_number_and_its_shade() -> None:
    markup = heatmap(["a", " b", "c"], [None, 1.0, 3.0])
    assert re.findall(r"<sup[^>]*>([\d.]+)</sup>", markup) == ["1.0", "3.0"]
    assert 'title="&#x27; b&#x27;: surprisal 1.0 nats"' in markup
    assert shades(markup) == ["#ffffff", "#61a8cf"]  # 255 + (0 - 255) * 0.62 = 97 = 0x61, and so on
    assert "surprisal in nats:" in markup and "<span>a</span>" in markup
    alike = (heatmap(["a", "b", "c"], numbers) for numbers in ([1.0, 2.0, 3.0], [1.04, 1.96, 2.96]))
    assert next(alike) == next(alike), "what is shown alike is shaded alike"
    assert shades(heatmap(["x", "y"], [5.0, -1.0], vmin=0, vmax=5)) == ["#61a8cf", "#ffffff"], "a fixed scale clips"
    assert shades(heatmap(["x", "y"], [2.0, 2.0])) == ["#ffffff", "#ffffff"], "no range: nothing is shaded"


def test_text_is_escaped_and_line_breaks_show() -> None:
    markup = heatmap(["<script>", "\n", " "], [1.0, 2.0, 3.0], label="<l>", unit="&")
    assert "<script>" not in markup and "&lt;script&gt;" in markup and "&lt;l&gt; in &amp;" in markup
    assert re.search(r"↵<sup[^>]*>2.0</sup></span><br>", markup) and ">·<sup" in markup
    assert "<style" not in markup and "class=" not in markup


def test_dollars_are_no_mathematics() -> None:
    """MathJax takes what stands between two dollar signs of one piece of text for a formula: each is on its own."""
    made = [
        pages.table([("from $31 to $135",)], ["$ and $"], "$1 or $2"),
        pages.text_heatmap(["$5", " to $7"], [None, 1.0], label="$l$", unit="$"),
    ]
    for shown in made:
        pieces = re.findall(r">([^<]*)", shown._repr_html_())
        assert max(piece.count("$") for piece in pieces) == 1
        assert all(piece == "$" for piece in pieces if "$" in piece)
    assert "from $31 to $135" in repr(made[0]), "plain text stays plain"


test_a_heatmap_refuses = refusals_of(
    lambda tokens, values, low=None, high=None: heatmap(tokens, values, vmin=low, vmax=high),
    (["a"], [1.0, 2.0], "1 tokens and 2 values"),
    ([], [], "at least one value"),
    (["a"], [None], "at least one value"),
    (["a"], [float("inf")], "finite"),
    (["a"], [1.0], 2.0, 2.0, "vmin must be below vmax"),
)


def test_numbers_stand_right_and_words_left() -> None:
    shown = pages.table([("a<b", 1.23456, 50257), ("c", "2.0", 7)], ["name", "loss", "V"], "one claim")
    cells = re.findall(r"<t[hd] style=\"[^\"]*text-align: (\w+)[^>]*>([^<]*)</t[hd]>", shown._repr_html_())
    assert cells[:3] == [("left", "name"), ("right", "loss"), ("right", "V")]
    assert cells[3:6] == [("left", "a&lt;b"), ("right", "1.235"), ("right", "50,257")]
    numbers = (4.0, 54.6, 50257.4, 0.0, 1.99e-5, 999.96, np.float32(1.2345679), np.int64(50257))
    said = repr(pages.table([numbers], "abcdefgh"))
    assert said.endswith("\n4.000  54.60  50,257  0  1.990e-05  1,000  1.235  50,257")
    assert repr(shown) == "one claim\nname  loss  V\na<b  1.235  50,257\nc  2.0  7"


test_a_table_refuses_ragged_rows = refusals_of(
    pages.table,
    ([(1, 2), (3,)], ["a", "b"], "row 1 has 1 cells, .* 2 columns"),
    ([], [], "one column"),
)


def test_keys_of_records_are_said_in_other_languages():
    parts = (part.replace("_", " ") for part in budget.parameter_count(preset("gpt2-124m")))
    keys = {*changes.CHANGES, *quantise.AXES["part"], *scaling.FORMS, *parts} - {"RMSNorm", "SwiGLU"}
    assert keys <= set(pages.NAMED)
    language.choose("pt_BR")
    assert pages.named("rotary positions") == "posições rotatórias"
    assert "cabeças agrupadas" in pages.table([["grouped heads"]], ["change"]).markup
