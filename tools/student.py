"""The student edition: the course without solutions, recap answers and stored outputs, in a folder that runs by itself.

    python -m tools.student

Solutions and answers are found by their place, not by their words, so that each language of the course comes along.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat

from tools import anew, reason
from tools.grade.returned import calls_of_check
from tools.notebooks import BADGE_ID, EDITIONS, ROOT, numbered, read, records

RECAP_ID = "recap"
LEFT_OUT = shutil.ignore_patterns("*.ipynb", ".*", "__pycache__")
FOLDED = re.compile(r"<details>\s*<summary>(.*?)</summary>.*?</details>\n*", re.DOTALL)
TO_TEACHERS = re.compile(r"\[([^\]]*)\]\((?:\.\./)+lecture_notes/[^)]*\)")


def without_answers(notebook: nbformat.NotebookNode, name: str) -> None:
    """Take solutions, recap answers, outputs, and links to the lecture notes and to Colab's full edition out of it.

    ValueError: an exercise without exactly one folded solution below it, or a recap without folded answers.
    """
    function = None  # of the exercise in the cell before
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            function = next((function for _, function in calls_of_check(cell.source)), None)
            continue
        if function:
            solutions = [part[0] for part in FOLDED.finditer(cell.source) if f"\ndef {function}(" in part[0]]
            if len(solutions) != 1:
                raise ValueError(f"{name}: expected one folded solution of {function} below it, got {len(solutions)}")
            cell.source = cell.source.replace(solutions[0], "")
        if cell["id"] == RECAP_ID:
            cell.source, n_answers = FOLDED.subn(r"\1\n\n", cell.source)
            if not n_answers:
                raise ValueError(f"{name}: expected folded answers in its recap, got none")
        if cell["id"] == BADGE_ID:
            parts = cell.source.split(" · ")
            cell.source = " · ".join(part for part in parts if "colab." not in part and "lecture_notes" not in part)
        cell.source, function = TO_TEACHERS.sub(r"\1", cell.source), None


def make(out: Path) -> list[Path]:
    """Write the edition into `out`, an empty folder; return its notebooks."""
    shutil.copytree(ROOT / "helpers", out / "helpers", ignore=LEFT_OUT)
    for name in ("requirements.txt", "LICENSE"):
        shutil.copy(ROOT / name, out)
    made = []
    for folder in (ROOT / edition.folder / "notebooks" for edition in EDITIONS):
        target = out / folder.relative_to(ROOT)
        target.mkdir(parents=True)
        for path in records(folder.parent):
            (target / "data").mkdir(exist_ok=True)
            shutil.copy(path, target / "data")
        for path in numbered(folder):
            notebook = read(path)
            without_answers(notebook, path.name)
            made.append(target / path.name)
            nbformat.write(notebook, made[-1])
    return made


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    out = ROOT / "build" / "student"
    try:
        with anew(out) as aside:
            n_made = len(make(aside))
        print(f"{out}: {n_made} notebooks without solutions, recap answers and outputs")
    except (OSError, ValueError) as error:
        sys.exit(f"{out} was not made, and is as it was: {reason(error)}")
