"""The notebook tool: what it writes, what it drops, and what it refuses."""

import subprocess
from pathlib import Path

import nbformat
import pytest

from tests.support import refused
from tools import notebooks as tool


def small_notebook():
    noise = {"tags": ["x"], "execution": {"start": "now"}, "collapsed": True}
    kernel = {"name": "my-env", "display_name": "mine", "language": "python"}
    badge = nbformat.v4.new_markdown_cell("old", id="badge")
    setup = nbformat.v4.new_code_cell("old", id="setup", metadata=noise)
    return nbformat.v4.new_notebook(cells=[badge, setup], metadata={"widgets": {"state": {}}, "kernelspec": kernel})


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


def test_checking_writes_nothing_and_a_failing_notebook_keeps_its_outputs(tmp_path, capsys):
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


@pytest.mark.parametrize("given", [["trust", "x.ipynb"], ["run", "--check"], ["stamps"]])
def test_a_command_takes_only_what_is_its_own(given):
    refused("2", tool.main, given, error=SystemExit)


def test_a_changed_notebook_is_not_trusted_inside_another_repository_either(tmp_path, monkeypatch):
    course, trusted = tmp_path / "outer" / "course", []
    (course / "notebooks").mkdir(parents=True)
    for name in ("as_committed", "changed"):
        (course / "notebooks" / f"{name}.ipynb").write_text("{}")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(course.parent)]
    monkeypatch.setattr(tool, "ROOT", course)
    run = subprocess.run

    def noting(command, **settings):
        if "trust" in command:
            return trusted.extend(path.stem for path in command[4:]) or subprocess.CompletedProcess(command, 0)
        return run(command, **settings)

    monkeypatch.setattr(subprocess, "run", noting)
    for what in (["init", "-q"], ["add", "-A"]):
        run([*git, *what], check=True)
    assert tool.trust() == 0 and trusted == [], "nothing is committed yet"
    run([*git, "commit", "-qm", "x"], check=True)
    (course / "notebooks" / "changed.ipynb").write_text("{} ")
    assert tool.trust() == 0 and trusted == ["as_committed"]
