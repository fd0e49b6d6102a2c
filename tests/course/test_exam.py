"""The exam: forty questions on all notebooks, three difficulties, and no number that the stored outputs do not show."""

from __future__ import annotations

import re
from collections import Counter

from tests.course.test_classes import LINK, PATHS, ROOT, shows, stored_text

EXAM = (ROOT / "lecture_notes" / "exam.md").read_text(encoding="utf-8")
QUESTION = re.compile(
    r"^\*\*(\d+) (●{1,3})\*\* (.+)\n\n<details><summary>Answer</summary>\n\n(.+)\n\n</details>$", re.MULTILINE
)
NUMBER = re.compile(r"(?<![\w.,-])\d[\d.,]*\d(?!\w)")


def questions() -> list[tuple[str, ...]]:
    """(notebook, number, difficulty, question, answer) of each."""
    parts = re.split(r"^## \[.*?\]\(\.\./notebooks/(\w+)\.ipynb\)$", EXAM, flags=re.MULTILINE)[1:]
    return [
        (stem, *found) for stem, part in zip(parts[::2], parts[1::2], strict=True) for found in QUESTION.findall(part)
    ]


def test_forty_questions_on_all_notebooks_in_three_difficulties():
    asked = questions()
    assert [int(number) for _, number, *_ in asked] == list(range(1, 41))
    assert len(re.findall(r"^\*\*\d+ ", EXAM, re.MULTILINE)) == EXAM.count("<details>") == 40
    assert list(dict.fromkeys(stem for stem, *_ in asked)) == [path.stem for path in PATHS]
    assert min(Counter(stem for stem, *_ in asked).values()) >= 2
    levels = Counter(level for _, _, level, *_ in asked)
    assert set(levels) == {"●", "●●", "●●●"} and min(levels.values()) >= 10


def test_every_answer_names_cells_of_its_notebook():
    for stem, number, _, question, answer in questions():
        assert LINK.findall(answer), f"question {number} names no cell"
        assert {found for found, _ in LINK.findall(answer)} == {stem}, f"question {number}"
        assert not LINK.findall(question), f"question {number} gives its answer away"


def test_every_number_of_an_answer_is_in_the_output_of_its_cells_or_in_the_question():
    missing = {}
    for _, number, _, question, answer in questions():
        shown = " ".join([question, *(stored_text(*link) for link in LINK.findall(answer))])
        for said in NUMBER.findall(LINK.sub("]", answer)):
            if not shows(shown, said):
                missing.setdefault(number, []).append(said)
    assert missing == {}
