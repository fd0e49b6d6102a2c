"""Decks: what goes on a slide and what below it, the plan, what is asked; the page counts guesses as Python does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from py_mini_racer import MiniRacer

from helpers.classroom import plots, reveal
from tests.support import refused
from tools import slides
from tools.notebooks import EDITIONS, ROOT, numbered
from tools.slides import __main__ as decks
from tools.slides import deck, lines, notes
from tools.slides.lines import Block, halves
from tools.slides.page import question

OURS = r'<section(?: data-visibility="hidden")?(?:>| id=)'
SCRIPT = (Path(slides.__file__).parent / "deck.js").read_text(encoding="utf-8")
STEMS = [path.stem for path in numbered(ROOT / "notebooks")]
GUESSES = "4,5\n6\n5.1; 20\ncerca de 12\n1.000\n3 a 5\n1/2\n30%\n2 mil\nnão sei\n50 257"


def markdown(name: str, *texts: str):
    return new_markdown_cell("\n\n".join(texts), id=name)


def code(name: str, source: str, printed: str = "", html: str = ""):
    outputs = [new_output("stream", text=printed)] if printed else []
    outputs += [new_output("display_data", {"text/html": html})] if html else []
    return new_code_cell(source, id=name, outputs=outputs)


IDEA = "**Idea.** " + " ".join(["It is so."] * 25)
ASKS = 'reveal(my_guess, 2.5, "nats")'


def small_notebook():
    """A section with idea, prediction, answer and figure, one for home, and the exercises."""
    long_reading = " ".join(["The line rises to the right."] * 30)
    return new_notebook(
        cells=[
            markdown("idea", "## 1 A thing", "*Class · 9 minutes*", IDEA),
            code("define", "def f():\n    return 1"),
            markdown("ask", "**Predict.** *How many nats?*"),
            code("guess", "my_guess = None  # nats"),
            code("run", ASKS, "result: 2.5 nats\nand more\n"),
            markdown("figure-idea", "**Figure.** The same, drawn."),
            code("figure", "plots.show(ax)", html='<img alt="A line" width="800" src="data:,">'),
            markdown("read", f"**Read it.** {long_reading}"),
            markdown("home", "### 1.1 At home", "*Deeper · 5 minutes*", "Look:"),
            code("table", "pages.table(rows)", html="<table><tr><td>1</td></tr></table>"),
            markdown("end", "## Exercises", "Nothing of this is shown."),
        ]
    )


def test_each_step_has_its_slide_and_programs_stand_below():
    notebook = small_notebook()
    _, section, home = deck.cut(notebook, notebook)
    assert (section.part, home.part) == ("Class", "Deeper")
    assert [(s.id, s.kind) for s in section.slides] == [("idea", "text"), ("run", "predict"), ("figure", "figure")]
    idea, asked, figure = section.slides
    assert idea.texts == ["## 1 A thing", IDEA]
    assert [s.code for s in (*idea.below, *asked.below)] == ["def f():\n    return 1", ASKS]
    assert deck.n_words(figure.read) <= deck.BESIDE
    below = [s for s in figure.below if s.kind == "read"]
    assert below and deck.n_words([*figure.read, *(t for s in below for t in s.texts)]) == 182
    assert [(s.id, s.kind) for s in home.slides] == [("table", "output")]
    notebook.cells[4].outputs.append(new_output("display_data", {"text/html": "<table></table>"}))
    section = deck.cut(notebook, notebook)[1]
    answer, table = [(s.id, s.kind) for s in section.slides][1:3]
    assert (answer, table) == (("run", "predict"), ("run-more", "output")), "an answer's table comes after the answer"
    text = "## 1 A section\n\n*Class · 3 minutes*\n\n**Idea.** One.\n\nThe last words."
    last = new_notebook(cells=[markdown("last", text), markdown("end", "## Exercises")])
    shown = [text for section in deck.cut(last, last) for slide in section.slides for text in slide.texts]
    assert "The last words." in "".join(shown), "the last ones before the exercises"
    refused("expected a heading '## Exercises' or '## Recap'", deck.cut, new_notebook(), new_notebook())


def test_sentences_are_not_cut_in_formulas_code_or_brackets():
    text = "One is $a. B$ here. (It is so. Really.) `x. Y` stays. End."
    assert lines.sentences(text) == ["One is $a. B$ here.", "(It is so. Really.)", "`x. Y` stays.", "End."]


def test_what_is_asked_is_found_in_the_call_and_its_output():
    number = {"kind": "number", "measured": 1234.5, "whole": False, "unit": "nats"}
    for source, printed, expected in (
        (ASKS, "result: 1,234.5 nats", number),
        ("reveal(my_guess, len(x))", "result: 12", number | {"measured": 12, "whole": True, "unit": ""}),
        ("reveal(my_guess, same)", "result: no", {"kind": "yes or no", "measured": False}),
        ("reveal(my_guess, a, one_of=('b', 'c'))", "result: c", {"kind": "word", "measured": "c"}),
        ("reveal(my_guess, a, bounds=(1, 10))", "result: 5, which is b", {"measured": 5, "bounds": [1, 10]}),
    ):
        cell = code("run", source, printed)
        assert question(cell).items() >= expected.items()
    cell = code("run", ASKS, "nothing")
    refused(r"cell run: expected reveal\(\.\.\.\)", question, cell)


@pytest.fixture(scope="module")
def script() -> Iterator[MiniRacer]:
    context = MiniRacer()
    context.eval(SCRIPT)
    yield context
    context.close()


def call(script: MiniRacer, function: str, *arguments: object) -> object:
    given = ",".join(json.dumps(argument) for argument in arguments)
    return json.loads(script.eval(f"JSON.stringify({function}({given}))"))


@pytest.mark.parametrize(
    ("measured", "unit", "text"),
    [
        (4.6, "nats", GUESSES),
        (20, "tokens", GUESSES),
        (30.0, "per cent", "30%; 29; 0,5; 1.500; trinta"),
        (5.0, "nats", "4,5; 6; 20"),
        (5, "", "4.5,6,20"),
        (15_000, "tokens", "15.000; 15,000; 15 mil; 1.5e4; 14 000 tokens; -3"),
    ],
)
def test_the_page_counts_numbers_as_reveal_does(script, capsys, monkeypatch, measured, unit, text):
    monkeypatch.setattr(plots, "show", lambda *_: None)
    reveal(None, measured, unit, room=text)
    told = capsys.readouterr().out
    asked = {"kind": "number", "measured": measured, "whole": isinstance(measured, int), "unit": unit, "bounds": []}
    said = call(script, "count", text, asked)
    expected = f"{said['near']} of {said['n']} within 5% .* · {said['above']} above, {said['below']} below · median "
    found = re.search(expected + r"(\S+)", told)
    assert found, f"{said} but {told}"
    assert float(found[1].replace(",", "")) == pytest.approx(said["median"], rel=1e-3)
    unread = re.search(r"not read: (\d+)", told)
    assert len(said["unread"]) == int(unread[1] if unread else 0)


WORD = {"kind": "word", "measured": "c", "offered": ["a", "b", "c"]}
BOUNDED = {"kind": "number", "measured": 5.0, "bounds": [1, 10]}


@pytest.mark.parametrize(
    ("asked", "text", "arguments"),
    [
        (WORD, "a; B) one; c\n(c) ten; z", {"one_of": "abc"}),
        ({"kind": "yes or no", "measured": True}, "sim; não; yes, because; s; maybe", {}),
        (BOUNDED, "b; 3; 0,5; c; 20; x", {"bounds": (1, 10)}),
    ],
)
def test_the_page_counts_answers_as_reveal_does(script, capsys, monkeypatch, asked, text, arguments):
    monkeypatch.setattr(plots, "show", lambda *_: None)
    reveal(None, asked["measured"], room=text, **arguments)
    said = call(script, "count", text, asked)
    right = said["guesses"].count(said["right"])
    assert f"{right} of {said['n']} said {said['right']}" in capsys.readouterr().out
    assert sum(n for _, n in said["bars"]) == said["n"]


def test_an_axis_is_logarithmic_where_guesses_span_decades_and_the_clock_says_how_late_one_is(script):
    for values, name in (("[1, 29]", "linear"), ("[1, 31]", "log"), ("[0, 1, 31]", "symlog"), ("[0]", "linear")):
        assert script.eval(f"axisOf({values}).name") == name
    plan = [{"minutes": 9}, {"minutes": 13}]
    for row, minute, off in ((0, 5, 0), (0, 12.5, 4), (1, 5, -4), (1, 9, 0), (1, 22, 0)):
        assert call(script, "clock", plan, row, minute)["off"] == off


@pytest.mark.parametrize("stem", STEMS)
def test_every_class_has_its_deck_in_both_languages(stem, tmp_path):
    cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", 4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code" and deck.REVEAL.search(cell.source)]
    asked = re.findall(r"my_guess, ", "".join(sources))
    for edition in EDITIONS:
        decks.language.choose(edition.language)
        made = decks.write(stem, tmp_path, edition)
        decks.language.choose("en")
        pages = [path.read_text(encoding="utf-8") for path, _ in made]
        assert sum(page.count('class="room"') for page in pages) == len(asked)
        for page in pages:
            assert not re.search(r'(?:src|<link[^>]*href)="(?:https?:)?//', page), "a remote request"
            body = page[: page.index('<script type="application/json" id="deck">')]
            assert body.count("<section") == len(re.findall(OURS, body))
            rows = [int(row) for row in re.findall(r'<section id="[^"]*"[^>]* data-row="(\d+)"', body)]
            assert rows == sorted(rows), "not in the order of the plan"


@pytest.mark.parametrize("stem", STEMS)
def test_plan_and_questions_are_read_off_the_lecture_notes(stem):
    page = (ROOT / "lecture_notes" / f"{stem}.md").read_text(encoding="utf-8")
    about = notes.read(page, page)
    assert all(sum(row.minutes for row in plan) in range(20, 101) for plan in about.plans.values())
    assert len(about.questions) >= 5 and all(answer for _, answer in about.questions) and about.last_lines


def test_a_table_too_long_for_a_slide_is_two_with_one_heading():
    rows = [f"| row {i} | {'word ' * 12}|" for i in range(20)]
    table = "\n".join(["| a | b |", "|---|---|", *rows])
    english = table.replace("row", "line")
    first, second = halves(Block(english, table))
    assert first.english == first.shown.replace("row", "line") and second.english == second.shown.replace("row", "line")
    assert first.shown.splitlines()[:2] == second.shown.splitlines()[:2] == ["| a | b |", "|---|---|"]
    assert [*first.shown.splitlines()[2:], *second.shown.splitlines()[2:]] == rows
    assert abs(len(first.shown.split()) - len(second.shown.split())) < 40
    short, prose = Block("| a |\n|---|\n| 1 |", "| a |\n|---|\n| 1 |"), Block("word " * 400, "word " * 400)
    assert halves(short) == [short] and halves(prose) == [prose]


def test_a_name_that_no_notebook_has_is_said(tmp_path):
    refused("the beginning of a notebook's name, such as 02, got 'zz'", decks.make, tmp_path / "out", ["02", "zz"])
    assert not (tmp_path / "out").exists()
