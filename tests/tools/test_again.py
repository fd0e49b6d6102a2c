"""The rehearsal: cells that may not be run again after Run All are found, and only they."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tools import again

PLAN = """# Notes
cell `never` stands before the plan
## Plan: 100 minutes
| minute | what | cell |
|---|---|---|
| 0 to 5 | the last first | cell `later`, cell `grows` |
| 5 to 9 | text is no code | §1: cell `prose`, cell `times`, cell `meant` |

Cell `never` again, and cell `good-run` in a sentence.
## Traps
| cell `never` |
"""
CELLS = [
    ("good-predict", "my_guess = None", []),
    ("good-run", "from helpers.classroom.exercises import reveal\nx = 2\nreveal(my_guess, x, 'ids')", []),
    ("overwritten-predict", "my_guess = 1", []),
    ("helps", "y = 2 * x", []),
    ("overwritten-run", "print(x)\nreveal(my_guess, y, 'ids')", []),
    ("grows", "n = globals().get('n', 0) + 1\nprint(f'n = {n}')", []),
    ("times", "import time\nprint(time.perf_counter())", ["nbval-ignore-output"]),
    ("meant", "1 / 0", ["raises-exception"]),
    ("later", "if 'gone' in globals():\n    raise OSError('the folder is gone')\nx, gone = 7, True", []),
    ("never", "assert 'again' not in globals()\nagain = 1", []),
]


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cells = [nbformat.v4.new_code_cell(text, id=name, metadata={"tags": tags}) for name, text, tags in CELLS]
    cells.insert(3, nbformat.v4.new_markdown_cell("words", id="prose"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for folder in ("notebooks", "lecture_notes"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "notebooks" / "42_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    (tmp_path / "lecture_notes" / "42_x.md").write_text(PLAN)
    monkeypatch.setattr(again, "ROOT", tmp_path)
    return path


def test_what_is_run_again(lesson: Path):
    notebook = nbformat.read(lesson, as_version=4)
    assert again.pairs(notebook) == ["good-predict", "good-run", "overwritten-predict", "overwritten-run"]
    assert again.plan(lesson, {name: 0 for name, _, _ in CELLS}) == ["later", "grows", "times", "meant"]
    (lesson.parents[1] / "lecture_notes" / "42_x.md").write_text("# No plan here\n## Traps\n")
    assert again.plan(lesson, {}) == []


def test_a_rehearsal_finds_what_may_not_be_run_again(lesson: Path, capsys: pytest.CaptureFixture):
    assert again.main([str(lesson)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "42_x.ipynb plan later: OSError: the folder is gone"
    assert said[1] == "42_x.ipynb plan grows: first 'n = 1', now 'n = 2'"
    assert said[2].startswith("42_x.ipynb: 2 found") and len(said) == 3


def test_a_name_that_was_reused_is_found(lesson: Path, capsys: pytest.CaptureFixture):
    notebook = nbformat.read(lesson, as_version=4)
    run = next(cell for cell in notebook.cells if cell["id"] == "good-run")
    run.source = run.source.replace("x = 2", "x = globals().get('x', 2)")
    nbformat.write(notebook, lesson)
    again.main([str(lesson)])
    said = capsys.readouterr().out
    assert "42_x.ipynb pair good-run: first 'measured: 2 ids" in said and "now 'measured: 7 ids" in said
    assert "pair overwritten-run: first '2', now '7'" in said
