"""The course on paper, in both languages: one A4 page for each class, and the lecture notes, as PDFs.

    python -m tools.handouts

A class's page is made by rule, and nothing of it is typed here: question and goal of the notebook's card, the seven
lines that end its lecture notes, up to three stored figures of the class's sections, and the rows of the glossary whose
words this class uses much and others little. It needs pandoc and typst, which `make handouts` installs.
"""

import argparse
import base64
import json
import re
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools import anew, reason
from tools.notebooks import EDITIONS, LANGUAGE_LINK, NOTEBOOKS, ROOT, Edition, lecture_notes, numbered, pages, read
from tools.student import FOLDED

TEMPLATE = Path(__file__).with_name("handouts.typ")
MARK = re.compile(r"^\*(Class(?: [12])?|Deeper) · .*\*$", re.MULTILINE)
AFTER_THE_CLASS = re.compile(r"^## (?:Exercises|Recap)$", re.MULTILINE)
PICTURE = re.compile(r'<img alt="([^"]*)".*?src="data:image/png;base64,([^"]+)"', re.DOTALL)
CARD = re.compile(r"# (.+)\n\n(\*\*.+)\n\n(?:\|.*\n){5}\| (.+?) \| (.+) \|$", re.MULTILINE)  # the goal is row four
SEVEN_LINES = re.compile(r"^## (.+)\n((?:\d\. .+\n){7})", re.MULTILINE)
NEAR = re.compile(r"(?<!!)\[([^\[\]\n]*)\]\((?!https?:)[^)]*\)")  # a link that leads nowhere from a sheet of paper
ANSWER = re.compile(r"<details><summary>(.*?)</summary>\n\n")
MAX_FIGURES = 3
MAX_WORDS = 18
SHEET = {"size": "8.6pt", "margin": "(x: 13mm, y: 12mm)"}
NOTES = {"numbering": "1", "size": "10pt", "margin": "(x: 20mm, y: 18mm)"}


class Class(NamedTuple):
    """The sections of a notebook that one meeting covers, of the English edition: ids of cells are those of both."""

    stem: str
    number: str  # "1", "2", or "" where the notebook is one class
    prose: str
    figures: list[str]  # ids of the cells that drew one


class TooLong(ValueError):
    """A class's page takes more than one."""


def classes(notebook: nbformat.NotebookNode, stem: str) -> list[Class]:
    """The classes of an English notebook, by the marks below its headings."""
    mark, found = "Deeper", {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            mark = "Deeper" if AFTER_THE_CLASS.search(cell.source) else [mark, *MARK.findall(cell.source)][-1]
        if mark != "Deeper":
            prose, figures = found.setdefault(mark.removeprefix("Class").strip(), ([], []))
            if cell.cell_type == "markdown":
                prose.append(cell.source)
            elif picture(cell):
                figures.append(cell["id"])
    return [Class(stem, number, "\n".join(prose), spread(figures)) for number, (prose, figures) in found.items()]


def picture(cell: nbformat.NotebookNode) -> tuple[str, bytes] | None:
    """(what it shows in words, PNG) of the figure that a code cell has stored."""
    found = next(filter(None, map(PICTURE.search, pages(cell))), None)
    return found and (unescape(found[1]), base64.b64decode(found[2]))


def spread(ids: list[str]) -> list[str]:
    """At most three of them: the first, one from the middle, and the last."""
    return ids if len(ids) <= MAX_FIGURES else [ids[0], ids[len(ids) // 2], ids[-1]]


def glossary(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """(English, Portuguese) of each row of notebook 00's glossary."""
    (cell,) = (cell for cell in notebook.cells if cell["id"] == "glossary")
    return re.findall(r"^\| (?!English )(\w.*?) \| (.+) \|$", cell.source, re.MULTILINE)


def uses(term: str, prose: str) -> int:
    """How often a text has one of the words of a glossary's row, such as "to roll (a die)" or "window, stride"."""
    words = re.split(r"[,;] ", re.sub(r" ?\([^)]*\)", "", term))
    forms = "|".join(re.escape(word.removeprefix("to ")) for word in words)
    return len(re.findall(rf"\b(?:{forms})(?:s|es)?\b", prose, re.IGNORECASE))


def words_of(one: Class, everything: list[Class], rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows that this class uses, those first that it uses often and few classes use."""

    def weight(row: tuple[str, str]) -> float:
        return uses(row[0], one.prose) / sum(bool(uses(row[0], each.prose)) for each in everything)

    return sorted((row for row in rows if uses(row[0], one.prose)), key=weight, reverse=True)


def page(one: Class, edition: Edition, words: list[tuple[str, str]]) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a class's page, and its figures by their files' names.

    ValueError: the notebook's card or the notes have another form.
    """
    home = ROOT / edition.folder
    cells = {c["id"]: c for c in read(home / "notebooks" / f"{one.stem}.ipynb").cells}
    notes = LANGUAGE_LINK.sub("", (home / "lecture_notes" / f"{one.stem}.md").read_text(encoding="utf-8"))
    card, seven = CARD.match(cells["card"].source), SEVEN_LINES.search(notes)
    if not (card and seven):
        raise ValueError(
            f"{one.stem}: expected the goal in the card's fourth row and seven lines in the notes, got others"
        )
    title, question, label, goals = card.groups()
    part = re.search(rf"^## .*: (.+ {one.number})$", notes, re.MULTILINE) if one.number else None
    shown = {f"{name}.png": picture(cells[name]) for name in one.figures}
    figures = [f"image({quoted(name)}, alt: {quoted(alt)}, width: 100%)," for name, (alt, _) in shown.items()]
    left = [question, f"## {label[0].upper()}{label[1:]}", "\n".join(f"- {goal}" for goal in goals.split("; "))]
    left += [f"## {seven[1]}", seven[2], "## " + re.findall(r"^## (.+)$", notes, re.MULTILINE)[-1]]
    left += ["\n".join(["| English | português |", "|---|---|", *(f"| {en} | {pt} |" for en, pt in words)])]
    head, foot = f"# {title}" + (f" · {part[1]}" if part else ""), notes.split("\n\n")[1]
    raw = ["#sheet([", "], [", f"], ({' '.join(figures)}), [", "])"]
    texts = [head, "\n\n".join(left), foot, ""]
    text = "\n\n".join(f"```{{=typst}}\n{code}\n```\n\n{text}" for code, text in zip(raw, texts, strict=True))
    return text, {name: png for name, (_, png) in shown.items()}


def quoted(text: str) -> str:
    """A string as typst writes it."""
    return json.dumps(text, ensure_ascii=False)


def pdf(text: str, pictures: dict[str, bytes], edition: Edition, look: dict[str, str]) -> bytes:
    """The PDF of a Markdown text, without the links that need the course's files.

    TooLong: it is a class's page and takes more than one.
    """
    import pypandoc  # this and typst are from requirements-site.txt: who studies needs neither
    import typst

    text = NEAR.sub(r"\1", LANGUAGE_LINK.sub("", text))
    body = pypandoc.convert_text(text, "typst-smart", "commonmark_x", ["--columns=10000", "--wrap=none"])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"page.typ": (TEMPLATE.read_text("utf-8") + body).encode("utf-8"), **pictures}.items():
            Path(folder, name).write_bytes(content)
        inputs = {"lang": edition.lang[:2], **look}
        try:
            return typst.compile(Path(folder, "page.typ"), sys_inputs=inputs, ignore_system_fonts=True)
        except typst.TypstError as error:
            raise (TooLong if "more than a page" in str(error) else ValueError)(str(error)) from error


def handout(one: Class, edition: Edition, ranked: list[tuple[str, str]]) -> bytes:
    """A class's page with as many of these rows of the glossary as fit, at most MAX_WORDS.

    TooLong: one page does not hold even the rest.
    """
    for n in range(min(MAX_WORDS, len(ranked)), -1, -1):
        words = sorted(ranked[:n], key=lambda row: row[0].removeprefix("to ").casefold())
        try:
            return pdf(*page(one, edition, words), edition, SHEET)
        except TooLong:
            continue
    raise TooLong(f"{one.stem} {one.number}: expected one page, got more even without a glossary: shorten its lines")


def make(out: Path) -> list[Path]:
    """Write the PDFs of all classes and lecture notes; return the paths."""
    english = {path.stem: read(path) for path in numbered(NOTEBOOKS)}
    everything = [one for stem, notebook in english.items() for one in classes(notebook, stem)]
    rows = glossary(next(iter(english.values())))
    made = {}
    for edition in EDITIONS:
        for one in everything:
            name = f"{one.stem}-{one.number}" if one.number else one.stem
            made[out / edition.lang / f"{name}.pdf"] = handout(one, edition, words_of(one, everything, rows))
        for path in lecture_notes(ROOT / edition.folder):
            text, folder = path.read_text(encoding="utf-8"), out / edition.lang / "lecture_notes"
            made[folder / f"{path.stem}.pdf"] = pdf(ANSWER.sub(r"*\1.* ", text), {}, edition, NOTES)
            if ANSWER.search(text):  # the exam, once more for whoever is examined
                made[folder / f"{path.stem}-questions.pdf"] = pdf(FOLDED.sub("", text), {}, edition, NOTES)
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(made)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    out = ROOT / "build" / "handouts"
    try:
        with anew(out) as aside:
            n_made = len(make(aside))
        print(f"{out}: {n_made} PDFs, one page a class and the lecture notes")
    except ImportError as error:
        sys.exit(f"{error}: `make handouts` installs what makes PDFs, and then makes them")
    except (OSError, ValueError) as error:
        sys.exit(f"{out} was not made, and is as it was: {reason(error)}")
