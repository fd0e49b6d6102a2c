"""The zip for Colab: what it holds; a disk that is full, a folder that takes nothing: one line, the old zip kept."""

import os
import runpy
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support import full_disk, names
from tools import alone, colab, notebooks, reason


def test_the_zip_holds_the_course_and_what_colab_lacks(monkeypatch):
    monkeypatch.setenv("PATH", "")  # nothing else is called
    found = colab.contents()
    assert list(found)[-1] == colab.LAST
    course = [path for name in ("helpers", "notebooks") for path in (colab.ROOT / name).rglob("[!.]*.[pij]*[!c]")]
    assert {path.relative_to(colab.ROOT).as_posix() for path in course} <= found.keys()
    assert {"LICENSE", "lecture_notes/exam.md", "sacrebleu/metrics/bleu.py", "rouge_score/scoring.py"} <= found.keys()
    assert all(path.is_file() for path in found.values())
    assert not [name for name in found if "/." in name or name.startswith(".") or name.endswith(".pyc")]


@pytest.fixture
def large(tmp_path_factory, monkeypatch) -> None:
    """In place of the course one large file that no zip makes smaller."""
    path = tmp_path_factory.mktemp("course") / "large"
    path.write_bytes(os.urandom(3_000_000))
    monkeypatch.setattr(colab, "contents", lambda: {"large": path})


def test_a_full_disk_leaves_the_earlier_zip_whole(large, tmp_path, capsys):
    out = tmp_path / "course.zip"
    assert colab.main(["--out", str(out)]) == 0
    before = out.read_bytes()
    with full_disk(after=3_000_000):  # as large as the file: the zip is larger
        assert colab.main(["--out", str(out)]) == 1
    assert out.read_bytes() == before and names(tmp_path) == [".course.zip.lock", "course.zip"]
    assert_one_line(capsys, "course.zip was not written: [Errno 27] File too large. Mend that, or name another place")


def test_a_folder_that_takes_nothing_and_a_package_that_is_not_there_are_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert colab.main(["--out", str(tmp_path / "file" / "course.zip")]) == 1
    assert_one_line(capsys, "was not written: [Errno 17] File exists")
    monkeypatch.setattr(colab, "EXTRAS", ("no-such-package",))
    assert colab.main(["--out", str(tmp_path / "course.zip")]) == 1
    assert_one_line(capsys, "was not written: no-such-package is not installed here. `make colab` installs it")


def test_a_notebook_that_is_none_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "03_half.ipynb").write_text('{"cells": [')
    monkeypatch.setattr(colab, "every_notebook", lambda: [tmp_path / "03_half.ipynb"])
    assert colab.main(["--out", str(tmp_path / "course.zip")]) == 1
    assert_one_line(capsys, "course.zip was not written: 03_half.ipynb: Notebook does not appear to be JSON")
    assert not (tmp_path / "course.zip").exists()


def test_who_finds_another_at_work_says_so_and_waits(tmp_path, monkeypatch):
    """And of a name that the terminal cannot show it says what it can."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out = tmp_path / "Ação.zip"
    command = [sys.executable, "-m", "tools.colab", "--out", str(out)]
    with alone(out):
        second = subprocess.Popen(
            command, cwd=notebooks.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert "waiting for it" in second.stderr.readline() and not out.exists()
    said, complaint = second.communicate()
    assert (
        complaint == ""
        and "A\\xe7\\xe3o.zip: " in said
        and second.returncode == 0
        and zipfile.ZipFile(out).testzip() is None
    )


def test_of_a_folder_that_was_not_copied_whole_the_first_reason_is_said(tmp_path):
    (tmp_path / "from").mkdir()
    for name in "ab":
        (tmp_path / "from" / name).symlink_to("nowhere")
    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "from", tmp_path / "to")
    assert reason(caught.value).startswith("[Errno 2] No such file") and "), (" not in reason(caught.value)


@pytest.mark.parametrize("tool", ["student", "slides", "handouts", "site"])
def test_other_tools_say_in_a_line_that_nothing_can_be_written(tmp_path, monkeypatch, capsys, tool):
    if tool == "site":
        pytest.importorskip("sphinx")
    for name in (f"tools.{tool}", f"tools.{tool}.__main__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "build").touch()  # a file where they make their folder
    (tmp_path / "helpers").mkdir()
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "build"))
    monkeypatch.setattr("sys.argv", [tool])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(f"tools.{tool}", run_name="__main__")
    assert caught.value.code not in (0, None)
    assert len((str(caught.value.code) + capsys.readouterr().err).splitlines()) == 1


@pytest.mark.parametrize("tool", ["site", "handouts"])
def test_where_sphinx_or_pandoc_is_not_installed_make_is_named(monkeypatch, tool):
    for name in ("sphinx.application", "pypandoc"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in (f"tools.{tool}", f"tools.{tool}.__main__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("sys.argv", [tool])
    with pytest.raises(SystemExit, match=f"`make {tool}` installs what makes"):
        runpy.run_module(f"tools.{tool}", run_name="__main__")


def assert_one_line(capsys, word: str) -> None:
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and word in said[0], said
