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


def test_an_output_is_known_by_what_no_language_changes():
    begin = base64.b64encode(bytes(16) + struct.pack(">II", 1200, 630) + bytes(24)).decode()
    picture = f'<img width="800" src="data:image/png;base64,{begin}more">'
    assert essence(nbformat.v4.new_output("display_data", {"text/html": picture}), True)[-1] == "(1200, 630)"
    stream = nbformat.v4.new_output("stream", text="measured: 4.5 nats, 1,200 tokens")
    assert essence(stream, True) == ["stream", "1,200", "4.5"] and essence(stream, False) == ["stream"]


PAGES = [*PORTUGUESE, *sorted((ROOT / "pt-BR" / "lecture_notes").glob("*.md")), *ROOT.glob("README.pt-BR.md")]


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":  # code has brackets and parentheses of its own
        text = "\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#\s\"\\]+)(?:#cell-id=([\w-]+))?\)", text) + re.findall(
        r'(src)="(lecture_notes[^"]+)"', text
    )
    for target, cell in links:
        if target.startswith("http"):
            continue
        path = page.parent / (cell if target == "src" else target)
        assert path.exists(), target
        if target.endswith(".ipynb") and cell:
            assert cell in {c["id"] for c in nbformat.read(path, as_version=4).cells}, f"{target}#{cell}"
