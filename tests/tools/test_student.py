"""The student edition: no solution, no answer of a recap, no output; the rest as it was."""

from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest

from tests.support import names, refusals_of
from tools import anew, colab, notebooks, student
from tools.notebooks import every_notebook

SOLUTION = "<details><summary>Solução</summary>\n\n```python\ndef twice(x):\n    return 2 * x\n```\n\n</details>"
HINT = "<details><summary>Dica 1</summary>\n\nA hint with code: `x + x`.\n\n</details>\n"
RECAP = "## Recap\n\n<details><summary>1. Why?</summary>\n\nBecause.\n\n</details>\n\n**Traps.** Many."


def small(help_below: str = HINT + SOLUTION, recap: str = RECAP) -> nbformat.NotebookNode:
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    stub = code('def twice(x):\n    raise NotImplementedError\n\n\ncheck("d-twice", twice)', execution_count=1)
    stub.outputs = [nbformat.v4.new_output("stream", text="d-twice: not attempted yet")]
    badge = "[Open in Colab](https://colab.x) · [notes](../lecture_notes/x.md) · prose CC BY 4.0 · [em português](x)"
    cells = [text(badge, id="badge"), text("See [the notes](../../lecture_notes/x.md#a)."), stub, text(help_below)]
    return nbformat.v4.new_notebook(cells=[*cells, text(recap, id="recap")])


def test_what_goes_and_what_stays():
    notebook = small()
    student.without_answers(notebook, "x.ipynb")
    badge, prose, stub, below, recap = notebook.cells
    assert badge.source == "prose CC BY 4.0 · [em português](x)" and prose.source == "See the notes."
    assert stub.source == small().cells[2].source and stub.outputs == [] and stub.execution_count is None
    assert below.source == HINT
    assert recap.source == "## Recap\n\n1. Why?\n\n**Traps.** Many."


test_an_answer_that_would_stay_is_refused = refusals_of(
    lambda *given: student.without_answers(small(*given), "x.ipynb"),
    (HINT, "expected one folded solution of twice below it, got 0"),
    (SOLUTION + SOLUTION, "got 2"),
    (HINT + SOLUTION, "## Recap\n\nWhy? Because.", "folded answers in its recap"),
)


def test_what_a_teacher_keeps_beside_the_notebooks_is_handed_to_nobody(tmp_path, monkeypatch):
    shared = {
        "LICENSE",
        "helpers/x.py",
        "notebooks/00_a.ipynb",
        "notebooks/data/a_cpu.json",
        "pt-BR/notebooks/00_a.ipynb",
    }
    own = {
        "helpers/._x.py",
        "notebooks/grades.csv",
        "notebooks/data/grades.csv",
        "notebooks/data/grades.json",
        "lecture_notes/My notes.md",
        "notebooks/run/log.jsonl",
        "notebooks/solutions.ipynb",
        "notebooks/00_a copy.ipynb",
    }
    course = tmp_path / "course"
    for name in (*shared, *own, "requirements.txt"):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(nbformat.writes(small()) if name.endswith(".ipynb") else "")
    for module in (colab, notebooks, student):
        monkeypatch.setattr(module, "ROOT", course)
    monkeypatch.setattr(colab, "EXTRAS", ())
    assert colab.contents().keys() == shared
    (tmp_path / "web").mkdir()
    (tmp_path / "out").symlink_to("web")
    out = tmp_path / "out"
    with anew(out) as aside:
        student.make(aside)
    made = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert made == {*shared, "requirements.txt"} and not list((tmp_path / "web").iterdir())
    (course / "notebooks" / "00_a.ipynb").write_text("{")  # where a later one ends midway
    with pytest.raises(ValueError, match=r"00_a.ipynb: .*JSON"), anew(out) as aside:
        student.make(aside)
    assert not aside.exists()
    assert made == {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_what_cannot_be_removed_or_was_cut_between_two_names_is_whole_all_the_same(tmp_path, monkeypatch):
    (out := tmp_path / "site").mkdir()
    (out / "page").touch()
    with pytest.raises(PermissionError), monkeypatch.context() as patch, anew(out):
        patch.setattr(Path, "rename", Mock(side_effect=PermissionError))
    assert names(tmp_path) == [".site.lock", "site"] and names(out) == ["page"]
    out.rename(tmp_path / ".site.former")  # killed here
    with pytest.raises(ValueError), anew(out):
        raise ValueError
    assert names(out) == ["page"]
    with anew(out) as aside:
        (aside / "other").touch()
    assert names(tmp_path) == [".site.lock", "site"] and names(out) == ["other"]


def test_every_notebook_has_its_edition(tmp_path):
    made = student.make(tmp_path / "student")
    assert {path.name for path in every_notebook()} <= {path.name for path in made}
    assert all((tmp_path / "student" / name).is_file() for name in ("helpers/runtime.py", "LICENSE"))
    assert (tmp_path / "student" / "notebooks" / "data").is_dir()
    assert not list(tmp_path.rglob("*exam*")), "its answers are for teachers"
    for path in made:
        text = path.read_text(encoding="utf-8")
        assert "<summary>Solu" not in text and "](../lecture_notes" not in text and '"image/png"' not in text
        nbformat.validate(nbformat.reads(text, as_version=4))
    assert not list(Path(tmp_path, "student").rglob("__pycache__"))
