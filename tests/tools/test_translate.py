"""The gate between the two editions: a small course in step passes, each planted fault is named with its way out."""

import os
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.support import full_disk, refused
from tools import notebooks
from tools.translate import catalogue, edition, gate, messages
from tools.translate.gate import entry_faults
from tools.translate.literals import literals

ROOT = Path(__file__).resolve().parents[2]
NAME = "notebooks/00_example"
SOLUTION = "```python\ndef stub(text):\n    return 1  # the loss\n```"
CELLS = [
    new_markdown_cell(
        "# An example\n\n**Idea.** The loss is $L = -\\ln p$, see `loss` and [04](04_next.ipynb).\n\n"
        "| what | $p$ |\n|---|---|\n| target | $1/2$ |",
        id="card",
    ),
    new_markdown_cell("", id="badge"),
    new_code_cell("", id="setup"),
    new_code_cell(
        'losses = {"new text": 3.0, "text it learnt": 1.0}  # in nats\n'
        "print(f\"new text: {losses['new text']:.2f} nats, {len(losses)} numbers\")\n"
        "print(f\"{', '.join(str(x) for x in losses)} are all\")\n"
        'ax.set(title="The loss is lower", label=["new text"][0])\n'
        'raise ValueError("expected a text")',
        id="run",
        metadata={"tags": ["raises-exception"]},
    ),
    new_code_cell('def stub(text):\n    """The loss of `text`."""\n    raise NotImplementedError', id="stub"),
    new_markdown_cell(f"<details><summary>Solution</summary>\n\n{SOLUTION}\n\n</details>", id="help"),
]
SAID = {
    "# An example": "# Um exemplo",
    "**Idea.** The loss is $L = -\\ln p$, see `loss` and [04](04_next.ipynb).": (
        "**Ideia.** Veja `loss` e [04](04_next.ipynb): a perda é $L = -\\ln p$."
    ),
    "| what | $p$ |": "| o quê | $p$ |",
    "| target | $1/2$ |": "| alvo | $1/2$ |",
    "new text": "texto novo",
    "text it learnt": "texto aprendido",
    "# in nats": "# em nats",
    "new text: {losses['new text']:.2f} nats, {len(losses)} numbers": (
        "{len(losses)} números; texto novo: {losses['new text']:.2f} nats"
    ),
    "{', '.join((str(x) for x in losses))} are all": "{', '.join((str(x) for x in losses))} são todos",
    "The loss is lower": "A perda é menor",
    "The loss of `text`.": "A perda de `text`.",
    "<details><summary>Solution</summary>": "<details><summary>Solução</summary>",
    SOLUTION: SOLUTION.replace("the loss", "a perda"),
}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook and its catalogue, built."""
    for module in (catalogue, edition, gate, notebooks):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "i18n")
    monkeypatch.setattr(catalogue, "names", lambda: [NAME])
    monkeypatch.setattr(messages, "stored", lambda: messages.table(catalogue.speaker("helpers")))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("notebooks", "i18n"):
        (tmp_path / folder).mkdir()
    (tmp_path / "i18n" / "unfinished.txt").write_text("")
    nbformat.write(new_notebook(cells=CELLS), catalogue.source(NAME))
    assert catalogue.update(NAME)["to do"] == len(SAID)
    catalogue.put(NAME, {catalogue.identity(entry): SAID[entry.msgid] for entry in catalogue.load(NAME)})
    assert len(list(edition.install([NAME]))) == 1, "a new notebook has to be executed"
    notebooks.main(["stamp"])
    return tmp_path


def test_on_a_full_disk_a_catalogue_and_the_edition_stay_whole(course, monkeypatch):
    monkeypatch.setattr(messages, "FILE", course / "pt_BR.json")
    messages.store(lambda *_: "so")
    english(lambda source: source + "\n\nOne more text.", "card")
    files = [messages.FILE, catalogue.po_file(NAME), course / edition.counterpart(NAME)]
    before = [file.read_bytes() for file in files]
    with full_disk():
        refused("File too large", messages.store, lambda *_: "sim")
        refused("File too large", catalogue.update, NAME)
        monkeypatch.setattr(
            edition,
            "build",
            lambda folder, _: shutil.copytree(course / "pt-BR", folder / "pt-BR", copy_function=os.link),
        )
        refused("File too large", lambda: list(edition.install([NAME])))
    assert [file.read_bytes() for file in files] == before


def english(change: Callable[[str], str], cell_id: str) -> None:
    """Change a cell of the English notebook."""
    rewrite(catalogue.source(NAME), change, cell_id)


def rewrite(path: Path, change: Callable[[str], str], cell_id: str) -> None:
    notebook = nbformat.read(path, 4)
    cell = next(cell for cell in notebook.cells if cell["id"] == cell_id)
    cell.source = change(cell.source)
    nbformat.write(notebook, path)


def test_a_course_in_step_passes_and_says_the_same(course):
    assert list(gate.gate()) == []
    said = {cell["id"]: cell.source for cell in nbformat.read(course / edition.counterpart(NAME), 4).cells}
    assert said["card"].startswith("# Um exemplo\n\n**Ideia.** Veja `loss` e [04](")
    assert "{losses['texto novo']:.2f}" in said["run"], "a key inside a placeholder follows its word"
    assert "join(str(x) for x in losses)} são" in said["run"], "parentheses as in the English"
    assert 'raise ValueError("expected a text")' in said["run"], "what an exception says stays English"
    assert 'language="pt_BR"' in said["setup"]
    assert "[in English](../../notebooks/00_example.ipynb)" in said["badge"]
    badge = nbformat.read(catalogue.source(NAME), 4).cells[1].source
    assert "[em português](../pt-BR/notebooks/00_example.ipynb)" in badge


def say(english_text: str, said: str) -> None:
    """Translate anew, whatever `put` would say."""
    po = catalogue.load(NAME)
    next(entry for entry in po if entry.msgid == english_text).msgstr = said
    po.save(str(catalogue.po_file(NAME)))
    list(edition.install([NAME]))


FAULTS = {
    "an English paragraph": (lambda: english(lambda s: s.replace("The loss", "Our loss"), "card"), "make translate"),
    "an English label": (lambda: english(lambda s: s.replace("is lower", "falls"), "run"), "make translate"),
    "a line of the program": (lambda: english(lambda s: s.replace("3.0", "4.0"), "run"), "make translate"),
    "a number in the other edition": (
        lambda: rewrite(notebooks.ROOT / edition.counterpart(NAME), lambda s: s.replace("3.0", "4.0"), "run"),
        "is not what its English and its catalogue make",
    ),
    "a gap": (lambda: say("The loss is lower", ""), "not translated"),
    "another program": (lambda: say("# in nats", "# em nats\nlosses.clear()"), "changes the program"),
    "one word for two": (lambda: say("text it learnt", "texto novo"), "two words of the program become one"),
}


@pytest.mark.parametrize(("plant", "says"), FAULTS.values(), ids=FAULTS)
def test_a_planted_change_is_caught_with_its_way_out(course, plant, says):
    plant()
    assert any(says in problem for problem in gate.gate())


def test_a_reworded_text_keeps_its_translation_to_be_looked_at(course):
    english(lambda s: s.replace("The loss is lower", "The loss is much lower"), "run")
    assert catalogue.update(NAME)["to do"] == 1
    (entry,) = filter(catalogue.is_open, catalogue.load(NAME))
    assert entry.fuzzy and entry.msgstr == "A perda é menor" and entry.previous_msgid == "The loss is lower"
    assert any("reworded" in problem for problem in gate.gate())
    refused("no entry 12345678", catalogue.put, NAME, {"12345678": "x"})
    catalogue.put(NAME, {catalogue.identity(entry): "A perda é muito menor"})
    list(edition.install([NAME]))
    assert list(gate.gate()) == []


WRONG = {
    "formula": ("prose", "The sum $x + 1$", "A soma $x + 2$", "formulas"),
    "inline code": ("prose", "Call `fit`", "Chame `ajuste`", "inline code"),
    "link": ("prose", "See [04](04.ipynb)", "Veja [04](05.ipynb)", "links"),
    "tag": ("prose", "<summary>Hint</summary>", "Dica", "tags"),
    "row of a table": ("prose", "| a | b |", "| a |", "cells of the row"),
    "heading": ("prose", "## Goal", "### Objetivo", "beginning of the line"),
    "two lines": ("prose", "Both", "Os\ndois", "several"),
    "program of a solution": ("prose", "```python\nx = 1  # one\n```", "```python\nx = 2  # um\n```", "program"),
    "placeholder": ("f-string", "{n} tokens", "tokens", "placeholders"),
    "format": ("f-string", "{n:.2f} nats", "{n:.3f} nats", "placeholders"),
    "value": ("f-string", "{a} of {b}", "{b} de {b}", "placeholders"),
    "message": ("message", "{n} tokens", "{m} tokens", "placeholders"),
    "comment": ("comment", "# why", "por quê", "comment"),
    "space": ("text", " bits", "bits", "space"),
    "English left": ("text", "the mean", "the mean", "English is left"),
    "term": ("prose", "The learning rate rises", "A taxa de aprendizagem sobe", "glossary"),
    "false friend": ("prose", "Then resume it", "Depois resuma-o", "glossary"),
}


@pytest.mark.parametrize(("kind", "text", "said", "says"), WRONG.values(), ids=WRONG)
def test_a_fault_in_a_translation_is_named(kind, text, said, says):
    assert any(says in fault for fault in faults(kind, text, said))
    assert faults(kind, text, text, tcomment="keep") == [], "English that somebody has decided to keep"
    link = "[a-the-loss](../notebooks/01.ipynb#cell-id=a-the-loss)"  # a cell's name is no prose
    assert faults("prose", f"See {link}.", f"Veja {link}.") == []


def faults(kind: str, text: str, said: str, **fields: str) -> list[str]:
    entry = catalogue.polib.POEntry(msgid=text, msgstr=said, **fields)
    entry.comment = kind
    return list(entry_faults(entry, {}))


def test_where_a_string_stands_decides_what_it_is():
    source = """
pages.table([["read", name] for name in ("key", "b")], columns=["what", "n"])
ax.annotate("here", (0, 0), xycoords="axes fraction", **{"ha": "right" if x else "left"})
if name == "compared": raise ValueError("English")
assert x, "English"
%xmode Minimal
print(f"{x} words", "more")  # said  # noqa: E501"""
    found = {literal.text: literal.kind for literal in literals(source) if literal.has_words}
    texts = dict.fromkeys(("read", "what", "here", "more"), "text")
    words = dict.fromkeys(("key", "compared"), "word")
    assert found == texts | words | {"{x} words": "f-string", "# said  # noqa: E501": "comment"}


def test_sentences_of_a_script():
    script = """
    const a = `${fixed(n, 0)} of ${V} tokens, ` + "and more"; // a comment isn't read
    const html = `<p class="cw-x" aria-label="the ${x} numbers">${n > 1 ? "rows" : "row"} <b>left</b></p>`;
    const css = `width:${w}%`, key = `${name}_text`, pattern = /"quoted"/;
    """
    assert list(messages.sentences(script)) == ["{n} of {V} tokens, and more", "the {x} numbers", "left", "rows", "row"]


def test_a_full_disk_is_said_in_a_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["translate", "update"])
    monkeypatch.setattr(catalogue, "update", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(SystemExit, match=r"tools.translate: .*No space left on device"):
        runpy.run_module("tools.translate", run_name="__main__")
