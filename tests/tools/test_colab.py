"""The zip for Colab, where there is no network, no room, or a folder that takes nothing: one line, the old zip kept."""

import os
import resource
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from tools import colab, notebooks


@pytest.fixture
def without_pip(monkeypatch):
    """What pip would put into the zip, as one large file that no zip makes smaller."""

    def install(command, **_):
        course = Path(command[command.index("--target") + 1])
        course.mkdir(parents=True, exist_ok=True)
        (course / "large").write_bytes(os.urandom(3_000_000))

    monkeypatch.setattr(subprocess, "run", install)
    monkeypatch.setattr(colab, "FOLDERS", ())


def test_a_full_disk_leaves_the_earlier_zip_whole(without_pip, tmp_path, capsys):
    out = tmp_path / "course.zip"
    assert colab.main(["--out", str(out)]) == 0
    before = out.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))  # as large as what pip brings: the zip is larger
    try:
        assert colab.main(["--out", str(out)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]
    assert_one_line(capsys, "was not written")


def test_a_folder_that_takes_nothing_and_a_pip_without_a_network_are_said(without_pip, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert colab.main(["--out", str(tmp_path / "file" / "course.zip")]) == 1
    assert_one_line(capsys, "was not written")
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=subprocess.CalledProcessError(1, "pip")))
    assert colab.main(["--out", str(tmp_path / "course.zip")]) == 1
    assert_one_line(capsys, "was not written")


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


def assert_one_line(capsys, word: str) -> None:
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and word in said[0], said
