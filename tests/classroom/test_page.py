"""Shaded texts and tables: every number is on the page, whatever was typed is escaped, styles are inline."""

from __future__ import annotations

import re

import numpy as np
import pytest

from helpers import language
from helpers.classroom import pages
from helpers.gpt import preset
from helpers.labs import budget, changes, quantise, scaling


def test_every_token_shows_its_number_and_its_shade() -> None:
    markup = pages.text_heatmap(["a", " b", "c"], [None, 1.0, 3.0], label="surprisal", unit="nats")._repr_html_()
    assert [float(x) for x in re.findall(r"<sup[^>]*>([\d.]+)</sup>", markup)] == [1.0, 3.0]
    assert 'title="&#x27; b&#x27;: surprisal 1.0 nats"' in markup
    white, dark = re.findall(r'nats" style="background-color: (#\w{6})', markup)
    assert white == "#ffffff" and dark == "#61a8cf"  # 255 + (0 - 255) * 0.62 = 97 = 0x61, and so on
    assert "surprisal in nats:" in markup and "<span>a</span>" in markup
    nearly = pages.text_heatmap(["a", " b", "c"], [None, 1.04, 2.96], label="surprisal", unit="nats")._repr_html_()
    assert nearly == markup, "what is shown alike is shaded alike"


def test_a_scale_can_be_fixed_and_clips() -> None:
    markup = pages.text_heatmap(["x", "y"], [5.0, -1.0], label="l", unit="u", vmin=0, vmax=5)._repr_html_()
    dark, white = re.findall(r'u" style="background-color: (#\w{6})', markup)
    assert (dark, white) == ("#61a8cf", "#ffffff")
    same = pages.text_heatmap(["x", "y"], [2.0, 2.0], label="l", unit="u")._repr_html_()  # no range: nothing is shaded
    assert set(re.findall(r"background-color: (#\w{6})", same)) == {"#ffffff"}


def test_text_is_escaped_and_line_breaks_show() -> None:
    markup = pages.text_heatmap(["<script>", "\n", " "], [1.0, 2.0, 3.0], label="<l>", unit="&")._repr_html_()
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


@pytest.mark.parametrize(
    ("tokens", "values", "scale", "message"),
    [
        (["a"], [1.0, 2.0], {}, "1 tokens and 2 values"),
        ([], [], {}, "at least one value"),
        (["a"], [None], {}, "at least one value"),
        (["a"], [float("inf")], {}, "finite"),
        (["a"], [1.0], {"vmin": 2.0, "vmax": 2.0}, "vmin must be below vmax"),
    ],
)
def test_a_heatmap_refuses(tokens: list, values: list, scale: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pages.text_heatmap(tokens, values, label="l", unit="u", **scale)


def test_numbers_stand_right_and_words_left() -> None:
    shown = pages.table([("a<b", 1.23456, 50257), ("c", "2.0", 7)], ["name", "loss", "V"], "one claim")
    cells = re.findall(r"<t[hd] style=\"[^\"]*text-align: (\w+)[^>]*>([^<]*)</t[hd]>", shown._repr_html_())
    assert cells[:3] == [("left", "name"), ("right", "loss"), ("right", "V")]
    assert cells[3:6] == [("left", "a&lt;b"), ("right", "1.235"), ("right", "50,257")]
    floats = repr(pages.table([(4.0, 54.6, 50257.4, 0.0, 1.99e-5)], list("abcde")))
    assert floats == "a  b  c  d  e\n4.000  54.60  50,257  0  1.990e-05"
    assert repr(pages.table([(999.96, np.float32(1.2345679), np.int64(50257))], list("abc"))).endswith(
        "1,000  1.235  50,257"
    )
    assert repr(shown) == "one claim\nname  loss  V\na<b  1.235  50,257\nc  2.0  7"


def test_a_table_refuses_ragged_rows() -> None:
    for rows, columns, says in (
        ([(1, 2), (3,)], ["a", "b"], "row 1 has 1 cells, .* 2 columns"),
        ([], [], "one column"),
    ):
        with pytest.raises(ValueError, match=says):
            pages.table(rows, columns)


def test_keys_of_records_are_said_in_other_languages():
    parts = (part.replace("_", " ") for part in budget.parameter_count(preset("gpt2-124m")))
    keys = {*changes.CHANGES, *quantise.AXES["part"], *scaling.FORMS, *parts} - {"RMSNorm", "SwiGLU"}
    assert keys <= set(pages.NAMED)
    language.choose("pt_BR")
    try:
        assert pages.named("rotary positions") == "posições rotatórias"
        assert "cabeças agrupadas" in pages.table([["grouped heads"]], ["change"]).markup
    finally:
        language.choose(language.ENGLISH)
