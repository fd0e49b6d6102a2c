"""The rehearsal: cells that may not be run again after Run All are found, and only they."""

from pathlib import Path

import nbformat
import pytest

from tools import again

LINK = "[{0}](../notebooks/42_x.ipynb#cell-id={0})"
PLAN = f"""# Notes
{LINK.format("never")} stands before the plan
## Plan: class 1
| minutes | what | cells |
|---|---|---|
| 5 | the last first | {LINK.format("later")}, [of another](../notebooks/41_y.ipynb#cell-id=never) |

Cell `never` again, and {LINK.format("good-run")} in a sentence.
## Plan: class 2
| 5 | text is no code | {LINK.format("grows")}, {LINK.format("prose")}, {LINK.format("times")}, {LINK.format("meant")} |
## Traps
| {LINK.format("never")} |
"""
CELLS = [
    ("good-predict", "my_guess = None", []),
    ("good-run", "from helpers.classroom import reveal\nx = 2\nreveal(my_guess, x, 'ids')", []),
    ("reused-predict", "my_guess = None", []),
    ("reused-run", "z = globals().get('z', 2)\nreveal(my_guess, z, 'ids')", []),
    ("overwritten-predict", "my_guess = 1", []),
    ("helps", "y = 2 * x", []),
    ("overwritten-run", "print(x)\nreveal(my_guess, y, 'ids')", []),
    ("grows", "n = globals().get('n', 0) + 1\nprint(f'n = {n}')", []),
    ("times", "import time\nprint(time.perf_counter())", ["nbval-ignore-output"]),
    ("meant", "1 / 0", ["raises-exception"]),
    ("later", "if 'gone' in globals():\n    raise OSError('the folder is gone')\nx, z, gone = 7, 7, True", []),
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
    names = [f"{name}-{half}" for name in ("good", "reused", "overwritten") for half in ("predict", "run")]
    assert again.pairs(notebook) == names
    assert again.plan(lesson, {name: 0 for name, _, _ in CELLS}) == ["later", "grows", "times", "meant"]
    (lesson.parents[1] / "lecture_notes" / "42_x.md").write_text("# No plan here\n## Traps\n")
    assert again.plan(lesson, {}) == []


def test_a_rehearsal_finds_what_may_not_be_run_again(lesson: Path, capsys: pytest.CaptureFixture):
    assert again.main([str(lesson)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "42_x.ipynb plan later: OSError: the folder is gone" in said
    assert "42_x.ipynb plan grows: first 'n = 1', now 'n = 2'" in said
    (reused,) = (line for line in said if "pair reused-run: " in line)
    assert "first 'result: 2 ids" in reused and "now 'result: 7 ids" in reused, "a name that was reused"
    assert said[-1].startswith("42_x.ipynb: 3 found") and len(said) == 4
