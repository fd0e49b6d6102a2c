"""The exam: forty questions on all notebooks, three difficulties, and no number that the stored outputs do not show."""

import re
from collections import Counter

from tests.course.reading import ENGLISH, LINK, ROOT, numbers_missing

EXAM = (ROOT / "lecture_notes" / "exam.md").read_text(encoding="utf-8")
PARTS = re.split(r"^## \[.*?\]\(\.\./notebooks/(\w+)\.ipynb\)$", EXAM, flags=re.MULTILINE)[1:]
QUESTION = re.compile(
    r"^\*\*(\d+) (●{1,3})\*\* (.+)\n\n<details><summary>Answer</summary>\n\n(.+)\n\n</details>$", re.MULTILINE
)
QUESTIONS = [  # (notebook, number, difficulty, question, answer) of each
    (stem, *found) for stem, part in zip(PARTS[::2], PARTS[1::2], strict=True) for found in QUESTION.findall(part)
]


def test_forty_questions_on_all_notebooks_in_three_difficulties():
    assert [int(number) for _, number, *_ in QUESTIONS] == list(range(1, 41))
    assert len(re.findall(r"^\*\*\d+ ", EXAM, re.MULTILINE)) == EXAM.count("<details>") == 40
    of_notebooks = Counter(stem for stem, *_ in QUESTIONS)
    assert list(of_notebooks) == [path.stem for path in ENGLISH] and min(of_notebooks.values()) >= 2
    levels = Counter(level for _, _, level, *_ in QUESTIONS)
    assert set(levels) == {"●", "●●", "●●●"} and min(levels.values()) >= 10


def test_every_answer_names_cells_of_its_notebook_which_show_its_numbers():
    for stem, number, _, question, answer in QUESTIONS:
        assert {found for found, _ in LINK.findall(answer)} == {stem}, f"question {number}"
        assert not LINK.findall(question), f"question {number} gives its answer away"
        assert numbers_missing(LINK.sub("]", answer), question, answer) == [], f"question {number}"
