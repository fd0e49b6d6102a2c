"""The notebook tool: what it writes, what it drops, and what it refuses."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import jsonschema
import nbformat
import pytest
from nbformat.sign import NotebookNotary

from tests.support import full_disk, names, refused
from tools import notebooks as tool


def small_notebook():
    noise = {"tags": ["x"], "execution": {"start": "now"}, "collapsed": True}
    kernel = {"name": "my-env", "display_name": "mine", "language": "python"}
    badge = nbformat.v4.new_markdown_cell("old", id="badge")
    setup = nbformat.v4.new_code_cell("old", id="setup", metadata=noise)
    return nbformat.v4.new_notebook(cells=[badge, setup], metadata={"widgets": {"state": {}}, "kernelspec": kernel})


@pytest.mark.parametrize("owner", ["someone", "a-name-that-is-as-long-as-a-name-may-be", tool.NO_ADDRESS])
@pytest.mark.parametrize("folder", ["notebooks", "pt-BR/notebooks"])
def test_what_stamp_writes_passes_lint(monkeypatch, owner, folder):
    monkeypatch.setattr(tool, "repository", lambda: f"https://github.com/{owner}/pretraining-a-gpt")
    notebook, path = small_notebook(), f"{folder}/07_x.ipynb"
    tool.stamp(notebook, tool.ROOT / path)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path]
        done = subprocess.run(ruff, input=nbformat.writes(notebook), cwd=tool.ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("owner", ["someone", tool.NO_ADDRESS])
def test_stamp_writes_the_address_of_pyproject(monkeypatch, owner):
    monkeypatch.setattr(tool, "repository", lambda: f"https://github.com/{owner}/course")
    notebook = small_notebook()
    tool.stamp(notebook, tool.ROOT / "notebooks" / "07_x.ipynb")
    badge, setup = (c.source for c in notebook.cells)
    compile(setup, "setup", "exec")
    assert len(setup.splitlines()) <= 12
    assert notebook.cells[1].metadata["tags"] == ["nbval-ignore-output"]
    if owner == tool.NO_ADDRESS:
        assert "git" not in setup and tool.NO_ADDRESS not in setup, "an address that is not set is asked for nothing"
    else:
        assert f"(https://colab.research.google.com/github/{owner}/course/blob/main/notebooks/07_x.ipynb)" in badge
        assert "blob/main/lecture_notes/07_x.md" in badge
        assert f"git clone -q --depth 1 https://github.com/{owner}/course pretraining-a-gpt" in setup
    del notebook.cells[0]
    refused("'badge'", tool.stamp, notebook, Path("x.ipynb"))


def test_tidy_keeps_tags_and_drops_the_rest():
    notebook = small_notebook()
    trace = [f"File {tool.ROOT}/helpers/gpt/config.py:9"]
    notebook.cells[1].outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=trace)]
    tool.tidy(notebook, Path("x.ipynb"))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[1].metadata == {"tags": ["x"]}
    assert notebook.cells[1].outputs[0].traceback[0] == "File helpers/gpt/config.py:9"
    for line, expected in (
        ("File /opt/env/lib/python3.12/site-packages/torch/x.py:1", "File site-packages/torch/x.py:1"),
        ("\x1b[32m/tmp/v/lib/python3.12/site-packages/x.py:1\x1b[39m", "\x1b[32msite-packages/x.py:1\x1b[39m"),
        ("File ~/.venv/lib/python3.12/json/decoder.py:3", "File lib/python3.12/json/decoder.py:3"),
        ("ValueError: expected a/b, got c", "ValueError: expected a/b, got c"),
    ):
        assert tool.without_folders(line) == expected
    for name, n_lines, folded in (("a-figure", 13, True), ("a-figure", 12, False), ("a-run", 40, False)):
        cell = nbformat.v4.new_code_cell("\n".join(["x = 1"] * n_lines), id=name, metadata={"tags": ["kept"]})
        tool.tidy(nbformat.v4.new_notebook(cells=[cell]), Path("x.ipynb"))
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) is folded, "the long code of figures"
        assert cell.metadata["tags"] == (["hide-input", "kept"] if folded else ["kept"])


def test_checking_writes_nothing_and_a_failing_notebook_keeps_its_outputs(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(nbformat.writes(small_notebook()) + "\n")
    before = path.read_text()
    assert tool.rewrite(path, tool.tidy, only_check=True)
    assert path.read_text() == before
    assert tool.rewrite(path, tool.tidy, only_check=False)
    assert tool.main(["tidy", "--check", str(path)]) == tool.main(["tidy", str(path), "--check"]) == 0, "a second time"
    cell = nbformat.v4.new_code_cell("1 / 0", execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    before = path.read_text()
    assert tool.run([path]) == 1 and path.read_text() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
    for error in (KeyboardInterrupt, asyncio.CancelledError):
        monkeypatch.setattr(tool, "client", Mock(side_effect=error))
        assert tool.run([path, path]) == 130 and path.read_text() == before
        assert capsys.readouterr().err == "x.ipynb: interrupted, stored outputs kept\n"


@pytest.mark.parametrize("command", ["tidy", "run"])
def test_on_a_full_disk_a_notebook_keeps_what_somebody_wrote(tmp_path, capsys, command):
    path = tmp_path / "x.ipynb"
    path.write_text(before := a_notebook("mine" * 10_000))
    with full_disk(after=20_000):  # which is enough for what a kernel writes
        assert tool.main([command, str(path)]) == 1
    assert path.read_text() == before and names(tmp_path) == ["x.ipynb"]
    said = capsys.readouterr().err
    assert said.startswith("x.ipynb") and "File too large" in said and "Traceback" not in said
    assert tool.main([command, str(path)]) == 0 and path.read_text() != before


def test_a_file_that_is_no_notebook_is_named(tmp_path, capsys):
    (tmp_path / "x.ipynb").write_bytes(b"\0\5\x16\7\xff")
    assert [tool.main([command, str(tmp_path / "x.ipynb")]) for command in ("tidy", "stamp", "run")] == [1, 1, 1]
    assert capsys.readouterr().err.count("x.ipynb") == 3


@pytest.mark.parametrize("given", [["trust", "x.ipynb"], ["run", "--check"], ["stamps"]])
def test_a_command_takes_only_what_is_its_own(given):
    refused("2", tool.main, given, error=SystemExit)


def a_notebook(text: str) -> str:
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="a")])) + "\n"


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    """A course without a notebook inside a larger repository, and a Jupyter that has trusted nothing yet."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setattr(tool, "ROOT", tmp_path / "outer" / "course")
    (tool.ROOT / "notebooks").mkdir(parents=True)
    git("init", "-q")
    return tool.ROOT


def git(*what: str) -> None:
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *name, "-C", str(tool.ROOT.parent), *what], check=True)


def commit(**texts: str) -> None:
    for name, text in texts.items():
        (tool.ROOT / "notebooks" / f"{name}.ipynb").write_text(text)
    git("add", "-A")
    git("commit", "-qm", "x")


def trusted() -> list[str]:
    """The names of the notebooks that Jupyter trusts once the tool has been called."""
    assert tool.main(["trust"]) == 0
    found = []
    with NotebookNotary() as notary:
        for path in sorted(tool.ROOT.rglob("*.ipynb")):
            try:
                found += [path.stem] * notary.check_signature(nbformat.read(path, as_version=4))
            except (ValueError, AttributeError, jsonschema.ValidationError):
                continue
    return found


def test_a_notebook_is_trusted_as_committed_only(course):
    (course / "notebooks" / "new.ipynb").write_text(a_notebook("new"))
    assert trusted() == [], "there is no commit yet"
    commit(kept=a_notebook("kept"), changed=a_notebook("changed"), windows=a_notebook("windows"), gone=a_notebook("x"))
    (course / "notebooks" / "changed.ipynb").write_text(a_notebook("evil"))
    (course / "notebooks" / "windows.ipynb").write_bytes(a_notebook("windows").replace("\n", "\r\n").encode())
    (course / "notebooks" / "gone.ipynb").unlink()
    (course / "notebooks" / "mine.ipynb").write_text(a_notebook("mine"))
    assert trusted() == ["kept", "new", "windows"]


@pytest.mark.parametrize("how", ["--skip-worktree", "--assume-unchanged", "a filter"])
def test_a_changed_notebook_that_git_calls_unchanged_is_not_trusted(course, how):
    commit(kept=a_notebook("kept"), changed=a_notebook("changed"))
    if how == "a filter":
        (course.parent / ".git" / "info" / "attributes").write_text("*.ipynb filter=strip\n")
        git("config", "filter.strip.clean", "sed s/evil/changed/")
    else:
        git("update-index", how, "course/notebooks/changed.ipynb")
    (course / "notebooks" / "changed.ipynb").write_text(a_notebook("evil"))
    assert trusted() == ["kept"]


def test_names_with_spaces_or_foreign_letters_are_trusted_and_stand_for_no_other(course):
    git("config", "core.quotepath", "off")
    latin = os.fsdecode("lição".encode("latin-1"))
    names = ("z evil", "00 minha aula", "a\nline", "aula_ção", latin)
    commit(**{name: a_notebook(ascii(name)) for name in names})
    (course / "evil.ipynb").write_text(a_notebook("evil"))
    assert trusted() == sorted(names)
    (course / "tools").mkdir()
    (course / "tools" / "other.ipynb").write_text(a_notebook("other"))
    commit()
    assert trusted() == sorted(names), "what is committed elsewhere is none of the course's notebooks"


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}"], ids=["empty", "half", "a list", "no cells"])
def test_a_committed_notebook_that_cannot_be_read_is_skipped_with_a_line(course, capsys, broken):
    commit(a_broken=broken, kept=a_notebook("kept"))
    assert trusted() == ["kept"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("a_broken.ipynb is not trusted: ")


def test_ctrl_c_while_a_cell_runs_is_one_line_and_the_next_notebook_is_not_run(tmp_path):
    cells = [nbformat.v4.new_code_cell("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)")]
    paths = [tmp_path / "one.ipynb", tmp_path / "two.ipynb"]
    for path in paths:
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    run = [sys.executable, "-m", "tools.notebooks", "run", *paths]
    with subprocess.Popen(run, cwd=tool.ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "begun").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert said.splitlines() == ["one.ipynb: interrupted, stored outputs kept"] and process.returncode == 130


@pytest.mark.parametrize(("error", "says"), [("KeyboardInterrupt", "interrupted"), ("ValueError", "Traceback")])
@pytest.mark.parametrize(
    ("command", "module"),
    [
        *[(command, "torch") for command in ("helpers.labs.pretrain", "helpers.labs.scaling", "tools.drill")],
        *[(command, "nbformat") for command in ("tools.student", "tools.grade", "tools.notebooks")],
    ],
)
def test_ctrl_c_while_a_library_is_loaded_is_one_line_and_another_error_is_shown(
    tmp_path, command, module, error, says
):
    (tmp_path / f"{module}.py").write_text(f"raise {error}")
    where = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{tool.ROOT}"}
    done = subprocess.run([sys.executable, "-m", command], capture_output=True, text=True, env=where, cwd=tool.ROOT)
    assert done.returncode and done.stderr.startswith(says) and ("\n" in done.stderr[:-1]) == (error == "ValueError")


def test_a_command_that_is_interrupted_while_it_starts_says_a_line(tmp_path):
    (tmp_path / "filelock.py").write_text("raise KeyboardInterrupt")  # one of the first modules that tools load
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(tool.ROOT)])}
    command = [sys.executable, "-m", "tools.student"]
    done = subprocess.run(command, cwd=tool.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode and done.stderr == "interrupted: run the same command again\n"


def test_an_interrupted_command_ends_without_a_traceback(monkeypatch):
    monkeypatch.setattr(tool, "trust", Mock(side_effect=KeyboardInterrupt))
    assert tool.main(["trust"]) == 130
