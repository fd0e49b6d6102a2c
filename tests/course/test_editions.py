"""The two editions show the same numbers and pictures; the second's links lead somewhere, and to cells that exist."""

import base64
import html
import re
import struct

import nbformat

from tests.course.reading import ENGLISH, PORTUGUESE, ROOT, cells, each, ids, notebook
from tests.nbval_tolerance import agree
from tools.translate.edition import anchor

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


@each(PORTUGUESE)
def test_outputs_differ_in_words_only(path):
    both = [notebook(file).cells for file in (ROOT / "notebooks" / path.name, path)]
    for english, other in zip(*both, strict=True):
        numbers = "nbval-ignore-output" not in english.metadata.get("tags", [])
        here, there = ([essence(output, numbers) for output in cell.get("outputs", [])] for cell in (english, other))
        assert [len(e) for e in here] == [len(e) for e in there], english["id"]
        differing = [(a, b) for x, y in zip(here, there, strict=True) for a, b in zip(x, y, strict=True)]
        assert all(agree(a, b) for a, b in differing), (english["id"], [p for p in differing if not agree(*p)])


NOTES = sorted([*ROOT.glob("lecture_notes/[!.]*.md"), *ROOT.glob("pt-BR/lecture_notes/[!.]*.md")])


@each([*ENGLISH, *PORTUGUESE, *NOTES, *sorted(ROOT.glob("README*.md"))])
def test_links_lead_somewhere(path):
    if path.suffix == ".ipynb":  # code has brackets and parentheses of its own
        text = "\n".join(cell.source for cell in cells(path, "markdown"))
    else:
        text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s\"\\]+)(?:#([^)\s]+))?\)", text)
    for target, place in links + re.findall(r'src="(lecture_notes[^"]+)()"', text):
        if target.startswith("http"):
            continue
        goal = (path.parent / target).resolve()
        assert goal.exists(), target
        if target.endswith(".ipynb") and place:
            assert place in {f"cell-id={name}" for name in ids(goal)}, f"{target}#{place}"
        if target.endswith(".md") and place:
            assert f"#{place}" in map(anchor, goal.read_text(encoding="utf-8").splitlines()), f"{target}#{place}"
