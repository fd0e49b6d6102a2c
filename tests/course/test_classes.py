"""Every notebook fits its class: marked sections; 85 minutes, six predictions and five figures at most; true plans."""

import re
from collections import defaultdict
from pathlib import Path

from tests.course.reading import ENGLISH, LINK, ROOT, each, notebook, notes, numbers_missing

TWO_CLASSES = {"02", "05", "08"}
CONTENT, QUESTIONS, PREDICTIONS, FIGURES = 85, 15, 6, 5  # of one class, the first two in minutes
CORE = range(45, 61)  # minutes of the core path for one who is alone, a class
MARK = re.compile(r"\*(Class(?: ([12]))?|Deeper) · (?:(\d+) minutes?|to look up)\*")
CARD = re.compile(
    r"^\| minutes \| in class (?:100, with 15 of questions(?: \(two classes: (2) × 100\))?|20) · alone, the core path "
    r"(?:2 × )?(\d+) and everything (\d+) · (?:under )?[12] to run on two CPU cores \|$",
    re.MULTILINE,
)
TRICKS = ROOT / "lecture_notes" / "tricks.md"


def sections(path: Path) -> list[tuple[str, str | None, int, list]]:
    """(heading, mark or None, minutes, cells) of what comes before the exercises; a mark is "Class 1", "Deeper", ..."""
    found = []
    for cell in notebook(path).cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            for line, after in zip(lines, [*lines[1:], ""], strict=True):
                if re.match(r"###? (?!Exercise \d)", line):
                    mark = MARK.fullmatch(after.strip())
                    found.append((line, mark and mark[1], int(mark[3] or 0) if mark else 0, []))
        if found:
            found[-1][3].append(cell)
    end = next(i for i, section in enumerate(found) if section[0] in ("## Exercises", "## Recap"))
    return found[:end]


def before_the_first_section(path: Path) -> set[str]:
    cells = notebook(path).cells
    first = next(i for i, cell in enumerate(cells) if re.search(r"^## ", cell.source, re.MULTILINE))
    return {cell["id"] for cell in cells[:first]}


def classes(path: Path) -> dict[str, list]:
    by_class = defaultdict(list)
    for section in sections(path):
        if section[1] and section[1] != "Deeper":
            by_class[section[1]].append(section)
    return by_class


@each(ENGLISH)
def test_every_section_says_whether_it_is_for_the_class(path):
    assert [heading for heading, mark, *_ in sections(path) if mark is None] == []
    wanted = {"Class 1", "Class 2"} if path.stem[:2] in TWO_CLASSES else {"Class"}
    assert set(classes(path)) == wanted


@each(ENGLISH)
def test_a_class_has_time_for_questions(path):
    for name, part in classes(path).items():
        code = [cell.source for *_, cells in part for cell in cells if cell.cell_type == "code"]
        assert sum(section[2] for section in part) <= CONTENT, f"{name}: minutes"
        assert sum(source.startswith("my_guess = None") for source in code) <= PREDICTIONS, f"{name}: predictions"
        assert sum("plots.show(" in source for source in code) <= FIGURES, f"{name}: figures"


@each(ENGLISH)
def test_the_card_says_how_long_it_takes(path):
    card = notebook(path).cells[0].source
    found = CARD.search(card)
    assert found, "the row of minutes has another form"
    assert (found[1] == "2") == (path.stem[:2] in TWO_CLASSES)
    assert path.stem.startswith("00") or int(found[2]) in CORE
    assert int(found[3]) > int(found[2]) * int(found[1] or 1)
    for name in ("symbols", "glossary"):
        assert f"#cell-id={name})" in card


@each(ENGLISH[1:])
def test_plans_lead_to_cells_of_their_class(path):
    plans = re.findall(r"^## Plan(?:: class ([12])|: 100 minutes)?$\n(.*?)(?=^## )", notes(path), re.M | re.S)
    assert [number for number, _ in plans] == (["1", "2"] if path.stem[:2] in TWO_CLASSES else [""])
    for number, plan in plans:
        rows = re.findall(r"^\| (\d+) \| (.*) \|$", plan, re.MULTILINE)
        assert rows[-1][0] == str(QUESTIONS) and rows[-1][1].startswith("questions")
        assert sum(int(minutes) for minutes, _ in rows[:-1]) <= CONTENT
        ids = {cell["id"] for *_, cells in classes(path)[f"Class {number}".strip()] for cell in cells}
        ids |= before_the_first_section(path)
        own = [cell for stem, cell in LINK.findall(plan) if stem == path.stem]
        assert len(own) >= 6 and set(own) <= ids, set(own) - ids


def test_every_gain_of_a_trick_stands_in_the_output_of_its_cell():
    rows = re.findall(r"^\| (.*?) \| (.*?) \| \[.*$", (text := TRICKS.read_text(encoding="utf-8")), re.MULTILINE)
    assert len(rows) == 10
    for line in text.splitlines()[4:]:
        if LINK.search(line):
            said = line.split(" | ")[1] if line.startswith("|") else line
            assert numbers_missing(re.sub(r"\(\.\..*?\)|multiple of \d+", "", said), "", line) == [], said
