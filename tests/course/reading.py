"""The course's files as its tests read them: each notebook once, its cells, what they stored, and links to them."""

import html
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import numbered

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, PORTUGUESE = (numbered(ROOT / folder / "notebooks") for folder in ("", "pt-BR"))
LINK = re.compile(r"\]\(\.\./notebooks/([\w]+)\.ipynb#cell-id=([\w-]+)\)")
NUMBER = re.compile(r"(?<![\w.,-])\d[\d.,]*\d(?!\w)")


@cache
def notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in notebook(path).cells if cell.cell_type == kind]


def ids(path: Path) -> set[str]:
    return {cell["id"] for cell in notebook(path).cells}


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def each(paths: Sequence[Path]) -> pytest.MarkDecorator:
    """A test of every one of these files."""
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(ROOT)) for path in paths])


def notes(path: Path) -> str:
    """The lecture notes of a notebook."""
    return (ROOT / "lecture_notes" / f"{path.stem}.md").read_text(encoding="utf-8")


def numbers_missing(said: str, beside: str, linked: str) -> list[str]:
    """The numbers in `said` that stand neither in `beside` nor in the output of the cells to which `linked` leads."""
    shown = " ".join([beside, *(stored_text(*link) for link in LINK.findall(linked))])
    return [n for n in NUMBER.findall(said) if not re.search(rf"(?<![\d.,]){re.escape(n)}(?![\d]|[.,]\d)", shown)]


def stored_text(stem: str, cell_id: str) -> str:
    """What a cell printed and the text of the tables that it showed."""
    (cell,) = (cell for cell in notebook(ROOT / "notebooks" / f"{stem}.ipynb").cells if cell["id"] == cell_id)
    shown = [o.get("text", "") + o.get("data", {}).get("text/html", "") for o in cell.get("outputs", [])]
    return html.unescape(re.sub(r"<[^>]+>", " ", " ".join(shown)))
