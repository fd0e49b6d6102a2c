"""The course on paper: what a class's page is made of, by rule; and one page of it, where typst is installed."""

import base64
import importlib.util
import re
from functools import cache

import nbformat
import pytest

from tests.support import refused
from tools import handouts
from tools.notebooks import ENGLISH, NOTEBOOKS, PORTUGUESE, numbered

text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
no_typst = importlib.util.find_spec("typst") is None or importlib.util.find_spec("pypandoc") is None


def figure(name: str) -> nbformat.NotebookNode:
    png = base64.b64encode(name.encode()).decode()
    shown = f'<img alt="A &lt; B" width="800" src="data:image/png;base64,{png}">'
    return code(id=name, outputs=[nbformat.v4.new_output("display_data", {"text/html": shown})])


def section(heading: str, mark: str, prose: str = "") -> nbformat.NotebookNode:
    return text(f"{heading}\n\n*{mark}*\n\n{prose}")


def test_a_class_has_the_sections_that_say_so():
    cells = [text("# Card"), figure("before")]
    cells += [section("## 1 A", "Class 1 · 9 minutes", "first"), figure("f1"), code("x")]
    cells += [section("### 1.1 B", "Deeper · 5 minutes", "home"), figure("f2")]
    cells += [section("### 1.2 C", "Class 1 · 4 minutes"), figure("f3")]
    cells += [section("## 2 D", "Class 2 · 9 minutes", "second"), figure("f4"), text("## Exercises\n\nx"), figure("f5")]
    one, two = handouts.classes(nbformat.v4.new_notebook(cells=cells), "09_x")
    assert (one.number, one.figures, two.number, two.figures) == ("1", ["f1", "f3"], "2", ["f4"])
    assert "first" in one.prose and "home" not in one.prose and "second" in two.prose


def test_figures_are_found_with_their_words_and_three_at_most_are_kept():
    assert handouts.picture(figure("f1")) == ("A < B", b"f1")
    assert handouts.picture(code("x")) is None
    for ids, kept in (("", ""), ("abc", "abc"), ("abcd", "acd"), ("abcde", "ace")):
        assert handouts.spread(list(ids)) == list(kept)


def test_words_of_this_class_come_before_words_of_every_class():
    for term, prose, times in (
        ("window, stride", "Windows of a stride; a windowpane.", 2),
        ("to roll (a die)", "Roll it, roll a die", 2),
        ("batch, micro-batch", "batches", 1),
        ("look-up (in a table)", "a table", 0),
    ):
        assert handouts.uses(term, prose) == times
    one = handouts.Class("02_x", "", "loss loss loss underflow underflow", [])
    others = [handouts.Class(f"0{i}_x", "", "loss", []) for i in range(3, 6)]
    rows = [("loss", "perda"), ("parity", "paridade"), ("underflow, overflow", "estouro")]
    assert handouts.words_of(one, [one, *others], rows) == [rows[2], rows[0]]


@cache
def everything() -> list[handouts.Class]:
    paths = numbered(NOTEBOOKS)
    return [one for path in paths for one in handouts.classes(nbformat.read(path, as_version=4), path.stem)]


def test_every_class_of_the_course_has_a_page_in_both_languages(monkeypatch):
    rows = handouts.glossary(nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4))
    assert len(rows) > 100 and ("loss", "perda (*loss*)") in rows
    all_of_them = everything()
    assert len(all_of_them) == 15  # twelve notebooks, three of them with two classes
    for one in all_of_them:
        for edition in (ENGLISH, PORTUGUESE):
            page, figures = handouts.page(one, edition, rows[:2])
            assert page.count("#sheet([") == 1 and len(re.findall(r"^\d\. ", page, re.MULTILINE)) == 7
            assert 1 <= len(figures) <= 3 and all(png.startswith(b"\x89PNG") for png in figures.values())
            assert bool(one.number) == page.split("\n\n")[1].endswith(f" {one.number}")
    monkeypatch.setattr(handouts, "SEVEN_LINES", re.compile("never there"))
    refused("seven lines in the notes", handouts.page, all_of_them[0], ENGLISH, [])


@pytest.mark.skipif(no_typst, reason="make handouts installs pypandoc and typst")
def test_a_class_is_one_page_of_paper(monkeypatch):
    one = next(each for each in everything() if len(each.figures) == 3)
    sheet = handouts.handout(one, PORTUGUESE, [("loss", "perda")])
    assert sheet.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", sheet)) == 1
    with pytest.raises(handouts.TooLong):
        handouts.pdf(*handouts.page(one, ENGLISH, [("loss", "perda " * 999)]), ENGLISH, handouts.SHEET)
    monkeypatch.setattr(handouts, "SHEET", handouts.SHEET | {"size": "40pt"})
    refused("shorten its lines", handouts.handout, one, ENGLISH, [], error=handouts.TooLong)
