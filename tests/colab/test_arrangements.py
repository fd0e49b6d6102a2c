"""Where a student on Colab may have put the course, and what the first cell says where there is none.

`make test-colab` runs this in an environment with Colab's versions. A folder stands for /content, a module for
google.colab; COURSE_ZIP names the zip that `python -m tools.colab` made. Colab itself has never been reached.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.support import program
from tools import notebooks

pytestmark = pytest.mark.colab
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = notebooks.numbered(ROOT / "notebooks")
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
    """An empty /content, a kernel that has loaded google.colab, and a git that notes its task and clones `online`."""
    stub = tmp_path / "stub"
    (stub / "google" / "colab").mkdir(parents=True)
    (stub / "google" / "colab" / "__init__.py").touch()
    (stub / "sitecustomize.py").write_text("import google.colab\n")
    program(stub / "git", f'echo "$*" >> {tmp_path}/asked\nexec cp -r {tmp_path}/online pretraining-a-gpt 2>&-')
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


def assert_said_in_four_lines(content: Path, change: Callable[[str], str] = str) -> None:
    with pytest.raises(CellExecutionError) as caught:
        first_cell(content, change)
    assert caught.value.ename == "SystemExit"
    said = caught.value.evalue.splitlines()
    assert len(said) == 4 and "is not here" in said[0] and "make colab" in caught.value.evalue


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


def test_of_two_folders_the_first_by_name_is_taken(course, content):
    for name in ("b", "a", "c"):
        shutil.copytree(course, content / "drive" / "MyDrive" / name)
    assert str(content / "drive" / "MyDrive" / "a" / "helpers") in first_cell(content)


@pytest.mark.parametrize("place", [".", "drive/MyDrive", "drive/MyDrive/the class's"])
@pytest.mark.parametrize("name", ["pretraining-a-gpt.zip", "pretraining-a-gpt (1).zip"])
def test_a_zip_is_unpacked_once_and_what_was_changed_in_it_stays(content, place, name):
    (content / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(ZIP, content / place / name)
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    mine = content / "pretraining-a-gpt" / "notebooks" / NOTEBOOKS[0].name
    mine.write_text("mine")
    first_cell(content)
    assert mine.read_text() == "mine"


def damaged(to: Path, how: str) -> None:
    """A zip whose upload is still running, or one with a hole in it."""
    whole = ZIP.read_bytes()
    half = len(whole) // 2
    to.write_bytes(whole[:half] if how == "cut short" else whole[:half] + bytes(10_000) + whole[half + 10_000 :])


@pytest.mark.parametrize("how", ["cut short", "a hole"])
def test_a_broken_zip_is_none_and_a_whole_one_beside_it_is_taken(content, how):
    damaged(content / "pretraining-a-gpt.zip", how)
    for _ in range(2):
        assert_said_in_four_lines(content)
    shutil.copy(ZIP, content / "pretraining-a-gpt (1).zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 1], ids=lambda part: f"{part} of it")
def test_a_half_unpacked_folder_is_mended_and_without_a_zip_is_none(content, part):
    """As a stopped unpacking leaves it: files in the order of the zip, the last one cut short."""
    with zipfile.ZipFile(ZIP) as archive:
        names = archive.namelist()
        archive.extractall(content, names[: int(part * (len(names) - 2))])
    (content / "pretraining-a-gpt").mkdir(exist_ok=True)
    written = [path for path in content.rglob("*.py") if path.stat().st_size]
    for path in written[-1:]:
        path.write_bytes(path.read_bytes()[:10])
    assert_said_in_four_lines(content)
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    for name in names:
        path = content / name
        assert path.is_dir() or path.stat().st_size == zipfile.ZipFile(ZIP).getinfo(name).file_size


def test_an_installed_course_is_taken(course, content, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{course}")
    assert str(course) in first_cell(content)


def own_helpers(content: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    """A module or package of that name that is not the course's."""
    if own == "another package":
        monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{content.parent / 'installed'}")
    file = {"a file": "helpers.py", "a folder": "helpers/mine.py", "a package": "helpers/__init__.py"}.get(own)
    path = content / file if file else content.parent / "installed" / "helpers" / "__init__.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n")


def test_nothing_found_is_said_in_four_lines(content):
    assert_said_in_four_lines(content)
    assert not (content.parent / "asked").exists(), "an address that is not set was asked"


@pytest.mark.parametrize("own", ["a file", "a folder", "a package", "another package"])
def test_helpers_of_ones_own_are_not_taken_for_the_course_and_hide_none(content, monkeypatch, own):
    own_helpers(content, monkeypatch, own)
    assert_said_in_four_lines(content)
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)


def test_helpers_of_ones_own_that_the_kernel_has_imported_give_way(course, content):
    (content / "helpers.py").write_text("x = 1\n")
    shutil.copytree(course, content / "course")
    assert str(content / "course" / "helpers") in first_cell(content, lambda setup: f"import helpers\n{setup}")


def test_the_first_zip_that_holds_the_course_is_the_last_that_is_unpacked(content):
    (content / "drive" / "MyDrive").mkdir(parents=True)
    shutil.copy(ZIP, content / "drive" / "MyDrive" / "pretraining-a-gpt.zip")
    with zipfile.ZipFile(content / "drive" / "MyDrive" / "pretraining-a-gpt.zip", "a") as old:
        old.writestr("pretraining-a-gpt/old.txt", "old")
    with zipfile.ZipFile(content / "pretraining-a-gpt notes.zip", "w") as other:
        other.writestr("notes.txt", "none of the course")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    assert (content / "pretraining-a-gpt" / "old.txt").exists()
    shutil.rmtree(content / "pretraining-a-gpt")
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    assert not (content / "pretraining-a-gpt" / "old.txt").exists()


def test_no_shell_reads_the_name_of_a_zip(content):
    shutil.copy(ZIP, content / "pretraining-a-gpt '\"$(touch ran)`touch ran`;.zip")
    assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content)
    assert not (content / "ran").exists()


def with_address(setup: str) -> str:
    return setup.replace("while not", notebooks.DOWNLOAD.format(address="https://address") + "while not", 1)


def test_with_an_address_git_is_asked_only_where_nothing_is_there(content, course):
    assert_said_in_four_lines(content, with_address)
    assert (content.parent / "asked").read_text() == "clone -q --depth 1 https://address pretraining-a-gpt\n"
    shutil.copytree(course, content.parent / "online")
    for _ in range(2):
        assert str(content / "pretraining-a-gpt" / "helpers") in first_cell(content, with_address)
    assert (content.parent / "asked").read_text().count("\n") == 2


def test_a_machine_without_git_is_told_the_same(content, monkeypatch):
    monkeypatch.setenv("PATH", str(content))
    assert_said_in_four_lines(content, with_address)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_beside_the_zip(content, path):
    """Uploaded alone, the zip beside it; a failure that is meant carries its tag."""
    shutil.copy(ZIP, content / "pretraining-a-gpt.zip")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": content}})
    client.execute()
    assert sys.version_info >= (3, 12)  # as there
