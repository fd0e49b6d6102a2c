"""Where a student on Colab may have put the course, and what the first cell says where there is none.

`make test-colab` runs this in an environment with Colab's versions. A folder stands for /content, a module for
google.colab; COURSE_ZIP names the zip that `python -m tools.colab` made. Colab itself has never been reached.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tools import notebooks

pytestmark = pytest.mark.colab
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ZIP = Path(os.environ.get("COURSE_ZIP", "missing"))
WHERE = "import helpers; print(helpers.__file__)"


@pytest.fixture(scope="session")
def course(tmp_path_factory) -> Path:
    """The zip, unpacked once."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(ZIP, folder)
    return folder / "pretraining-a-gpt"


@pytest.fixture
def content(tmp_path, monkeypatch) -> Path:
    """An empty /content, a kernel in which google.colab is loaded, and a git that only notes what it is asked."""
    stub = tmp_path / "stub"
    (stub / "google" / "colab").mkdir(parents=True)
    (stub / "google" / "colab" / "__init__.py").touch()
    (stub / "sitecustomize.py").write_text("import google.colab\n")
    git = stub / "git"
    git.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n')
    git.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(stub))
    monkeypatch.setenv("PATH", f"{stub}:{os.environ['PATH']}")
    monkeypatch.setenv("COURSE_QUIET", "1")
    (tmp_path / "content").mkdir()
    return tmp_path / "content"


def first_cell(content: Path, change: Callable[[str], str] = str) -> str:
    """What the first cell, then WHERE, print in a kernel that was started in `content`."""
    setup = next(c.source for c in nbformat.read(NOTEBOOKS[0], as_version=4).cells if c["id"] == "setup")
    cells = [nbformat.v4.new_code_cell(source) for source in (change(setup), WHERE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": content}}).execute()
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")


def test_the_zip_holds_these_modules_and_no_older_ones(course):
    def modules(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in (folder / "helpers").rglob("*.py")}

    assert modules(course) == modules(ROOT)


@pytest.mark.parametrize(
    "place", [".", "pretraining-a-gpt-main", "drive/MyDrive/course", "drive/MyDrive/classes/course", "a book"]
)
def test_a_folder_is_found(course, content, place):
    shutil.copytree(course, content / place, dirs_exist_ok=True)
    assert str(content / place) in first_cell(content) or place == "."
    assert not (content.parent / "asked").exists()


@pytest.mark.parametrize("place", [".", "drive/MyDrive", "drive/MyDrive/classes"])
def test_a_zip_is_unpacked_once_and_what_was_changed_in_it_stays(content, place):
    (content / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(ZIP, content / place / "pretraining-a-gpt.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    mine = content / "pretraining-a-gpt" / "notebooks" / NOTEBOOKS[0].name
    mine.write_text("mine")
    first_cell(content)
    assert mine.read_text() == "mine"


def test_an_installed_course_is_taken(course, content, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{course}")
    assert str(course) in first_cell(content)


@pytest.mark.parametrize("own", [False, True], ids=["nothing", "a helpers.py of one's own"])
def test_nothing_found_is_said_in_four_lines(content, own):
    if own:
        (content / "helpers.py").write_text("x = 1\n")
    with pytest.raises(CellExecutionError) as caught:
        first_cell(content)
    assert caught.value.ename == "SystemExit"
    said = caught.value.evalue.splitlines()
    assert len(said) == 4 and "rename that" in said[0] and "make colab" in caught.value.evalue
    assert not (content.parent / "asked").exists(), "an address that is not set was asked"


def test_a_helpers_py_of_ones_own_does_not_hide_a_course_that_is_there(content):
    (content / "helpers.py").write_text("x = 1\n")
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)


def test_with_an_address_git_is_asked_only_where_nothing_is_there(content, course):
    def with_address(setup: str) -> str:
        return setup.replace("found = [", notebooks.DOWNLOAD.format(address="https://address") + "found = [", 1)

    with pytest.raises(CellExecutionError):
        first_cell(content, with_address)
    assert (content.parent / "asked").read_text() == "clone -q --depth 1 https://address pretraining-a-gpt\n"
    shutil.copytree(course, content / "course")
    first_cell(content, with_address)
    assert (content.parent / "asked").read_text().count("\n") == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_beside_the_zip(content, path):
    """Uploaded alone, the zip beside it; a failure that is meant carries its tag."""
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": content}})
    client.execute()
    assert sys.version_info >= (3, 12)  # as there
