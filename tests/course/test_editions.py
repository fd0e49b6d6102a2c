"""The two editions show the same numbers and pictures; the second's links lead somewhere, and to cells that exist."""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat
import pytest

from tests.nbval_tolerance import agree

ROOT = Path(__file__).resolve().parents[2]
PORTUGUESE = sorted((ROOT / "pt-BR" / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
SAID_BY_SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL)


def essence(output: nbformat.NotebookNode) -> list[str]:
    """Of an output, what no language changes: its kind, its numbers in any order, the width of its picture."""
    if output.output_type == "error":
        return ["error", output.ename]
    if output.output_type == "stream":
        return ["stream", *sorted(NUMBER.findall(output.text))]
    page = output.data.get("text/html", "")
    numbers = NUMBER.findall(html.unescape(SAID_BY_SCRIPTS.sub(" ", page))) if "data:image" not in page else []
    return [*sorted(output.data), *re.findall(r' width="(\d+)"', page), *sorted(numbers)]


@pytest.mark.parametrize("path", PORTUGUESE, ids=[p.stem for p in PORTUGUESE])
def test_outputs_differ_in_words_only(path):
    both = [nbformat.read(file, as_version=4).cells for file in (ROOT / "notebooks" / path.name, path)]
    for english, other in zip(*both, strict=True):
        if english.cell_type == "code" and "nbval-ignore-output" not in english.metadata.get("tags", []):
            here, there = ([essence(output) for output in cell.outputs] for cell in (english, other))
            assert [len(e) for e in here] == [len(e) for e in there], english["id"]
            differing = [(a, b) for x, y in zip(here, there, strict=True) for a, b in zip(x, y, strict=True)]
            assert all(agree(a, b) for a, b in differing), (english["id"], [p for p in differing if not agree(*p)])


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
