"""The two editions show the same numbers and pictures; the second's links lead somewhere, and to cells that exist."""

from __future__ import annotations

import base64
import html
import re
import struct
from pathlib import Path

import nbformat
import pytest

from tests.nbval_tolerance import agree
from tools.translate.edition import anchor

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, PORTUGUESE = (sorted((ROOT / folder / "notebooks").glob("*.ipynb")) for folder in ("", "pt-BR"))
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
PICTURE = re.compile(r'src="data:image/png;base64,([^"]{64})')
SAID_BY_SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL)


def essence(output: nbformat.NotebookNode, numbers: bool) -> list[str]:
    """Of an output, what no language changes: its kind, its pictures' sizes and, if asked, its numbers in any order."""
    if output.output_type == "error":
        return ["error", output.ename]
    page = output.get("data", {}).get("text/html", "")
    sizes = [str(size_of(begin)) for begin in PICTURE.findall(page)]
    said = output.get("text", "") if sizes or not page else html.unescape(SAID_BY_SCRIPTS.sub(" ", page))
    return [output.output_type, *sorted(output.get("data", {})), *sizes, *(sorted(NUMBER.findall(said)) * numbers)]


def size_of(png: str) -> tuple[int, int]:
    """Width and height in pixels, from the beginning of a PNG in base64."""
    return struct.unpack(">II", base64.b64decode(png)[16:24])


def test_every_notebook_stands_in_both():
    assert [path.name for path in PORTUGUESE] == [path.name for path in ENGLISH] and len(ENGLISH) == 12


@pytest.mark.parametrize("path", PORTUGUESE, ids=[p.stem for p in PORTUGUESE])
def test_outputs_differ_in_words_only(path):
    both = [nbformat.read(file, as_version=4).cells for file in (ROOT / "notebooks" / path.name, path)]
    for english, other in zip(*both, strict=True):
        numbers = "nbval-ignore-output" not in english.metadata.get("tags", [])
        here, there = ([essence(output, numbers) for output in cell.get("outputs", [])] for cell in (english, other))
        assert [len(e) for e in here] == [len(e) for e in there], english["id"]
        differing = [(a, b) for x, y in zip(here, there, strict=True) for a, b in zip(x, y, strict=True)]
        assert all(agree(a, b) for a, b in differing), (english["id"], [p for p in differing if not agree(*p)])


FOLDERS = (ROOT, ROOT / "pt-BR")
NOTES = [page for folder in FOLDERS for page in sorted((folder / "lecture_notes").glob("*.md"))]
PAGES = [*ENGLISH, *PORTUGUESE, *NOTES, *sorted(ROOT.glob("README*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":  # code has brackets and parentheses of its own
        text = "\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#\s\"\\]+)(?:#([^)\s]+))?\)", text)
    for target, place in links + re.findall(r'src="(lecture_notes[^"]+)()"', text):
        if target.startswith("http"):
            continue
        path = page.parent / target
        assert path.exists(), target
        if target.endswith(".ipynb") and place:
            ids = {f"cell-id={cell['id']}" for cell in nbformat.read(path, as_version=4).cells}
            assert place in ids, f"{target}#{place}"
        if target.endswith(".md") and place:
            assert f"#{place}" in map(anchor, path.read_text(encoding="utf-8").splitlines()), f"{target}#{place}"
