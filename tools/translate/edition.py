"""The other edition: English notebooks and pages with every text said by its catalogue, links within the edition."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat

from tools import notebooks
from tools.translate import catalogue, prose
from tools.translate.catalogue import EVERYWHERE, ROOT, STAMPED
from tools.translate.literals import literal_source, literals, with_words

TARGET = re.compile(r'(\]\(|src=")([^)"#\s]*)(#(?!cell-id)[^)"\s]*)?')  # of a link or picture; its anchor
Say = Callable[[str | None, str], str]


def counterpart(name: str) -> Path:
    """Where a notebook or page stands in the other edition, from the course's folder."""
    return notebooks.twin(catalogue.source(name)).relative_to(ROOT)


def finished() -> list[str]:
    """What stands in the other edition: all but what is named as unfinished, and `helpers`, which is no page."""
    return [name for name in catalogue.names() if name != "helpers" and name not in catalogue.unfinished()]


def build(folder: Path, names: list[str], speaker: Callable[[str], Say] = catalogue.speaker) -> None:
    """Write these notebooks and pages, without outputs, below `folder`, as they stand below the course's."""
    for name in names:
        file = folder / counterpart(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        say = speaker(name)
        if file.suffix == ".md":
            text = translated_text(catalogue.source(name).read_text(encoding="utf-8"), None, say, name)
            file.write_text(notebooks.stamped_page(text, ROOT / counterpart(name)), encoding="utf-8")
        else:
            notebook = translated_notebook(nbformat.read(catalogue.source(name), 4), say, name)
            notebooks.stamp(notebook, ROOT / counterpart(name))
            notebooks.tidy(notebook, file)
            nbformat.write(notebook, file)
    ruff, where = Path(sys.executable).parent / "ruff", ["--quiet", "--config", ROOT / "pyproject.toml", folder]
    for command in ("check", "--fix-only", "--select=UP034"), ("format",):  # ast.unparse doubles parentheses
        subprocess.run([ruff, *command, *where], check=True)


def install(names: list[str]) -> Iterator[Path]:
    """Put these notebooks and pages into the course's folder; yields the notebooks that have to be executed.

    A notebook whose code is what it was keeps its outputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), names)
        for name in names:
            new, old = Path(folder) / counterpart(name), ROOT / counterpart(name)
            old.parent.mkdir(parents=True, exist_ok=True)
            if new.suffix == ".md":
                notebooks.write_whole(old, new.read_text(encoding="utf-8"))
                continue
            notebook = nbformat.read(new, 4)
            if not (old.exists() and keep_outputs(notebook, nbformat.read(old, 4))):
                yield old
            notebooks.write_whole(old, nbformat.writes(notebook) + "\n")


def keep_outputs(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> bool:
    """Give a notebook the outputs of one with the same code; False if the code differs or nothing was executed."""
    here, there = ([cell for cell in n.cells if cell.cell_type == "code"] for n in (notebook, executed))
    programs = ([(cell["id"], cell.source * (cell["id"] != "setup")) for cell in cells] for cells in (here, there))
    if next(programs) != next(programs):
        return False
    for new, old in zip(here, there, strict=True):
        new.outputs, new.execution_count = old.outputs, old.execution_count
    return all(cell.execution_count for cell in here)


def translated_notebook(notebook: nbformat.NotebookNode, say: Say, name: str) -> nbformat.NotebookNode:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if cell["id"] in STAMPED:
            continue
        if cell.cell_type == "markdown":
            cell.source = translated_text(cell.source, cell["id"], say, name)
        else:
            cell.source = translated_code(cell.source, cell["id"], say)
    return notebook


def translated_text(text: str, context: str | None, say: Say, name: str) -> str:
    """Markdown in the other language, its links turned to that edition."""
    text = prose.translated(text, lambda piece: say(context, piece))
    return TARGET.sub(lambda link: link[1] + _relinked(link[2], name) + _reanchored(link[2], link[3], name), text)


def anchor(heading: str) -> str:
    """What a link to a heading of a page ends in, as GitHub makes it."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def _reanchored(target: str, old: str | None, name: str) -> str:
    if not old:
        return ""
    page = Path(os.path.normpath(catalogue.source(name).parent / target)) if target else catalogue.source(name)
    other = next((n for n in finished() if catalogue.source(n) == page), None)
    if not other or page.suffix != ".md":
        return old
    say = catalogue.speaker(other)
    headings = re.findall(r"^#+ .*", page.read_text(encoding="utf-8"), re.MULTILINE)
    return next((anchor(prose.translated(h, lambda text: say(None, text))) for h in headings if anchor(h) == old), old)


def _relinked(target: str, name: str) -> str:
    if not target or "://" in target:
        return target
    here = catalogue.source(name).parent
    path = Path(os.path.normpath(here / target))
    moved = {catalogue.source(other): ROOT / counterpart(other) for other in finished()}
    moved |= {source.parent: goal.parent for source, goal in moved.items() if source.parent != ROOT}
    return os.path.relpath(moved.get(path, path), (ROOT / counterpart(name)).parent)


def translated_code(source: str, context: str, say: Say) -> str:
    """A code cell in the other language: its literals and comments replaced, everything else as it was."""
    out, position = [], 0
    for literal in literals(source):
        text = literal.text
        if literal.has_words:
            text = say(EVERYWHERE if literal.kind == "word" else context, text)
        if literal.kind == "f-string":
            text = with_words(text, lambda word: say(EVERYWHERE, word))
        if text != literal.text:
            out += [source[position : literal.start], literal_source(text, literal, source)]
            position = literal.end
    return "".join(out) + source[position:]
