"""The house: four rooms, each using only those below it and entered by its door, and how large each is.

A door lists names, and a sub-package's door may offer modules as well: `pretrain.ids.prepare` goes through both doors.
"""

import ast
import importlib
import json
from functools import cache
from itertools import accumulate
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HELPERS = ROOT / "helpers"
ROOMS = ("gpt", "storage", "labs", "classroom")  # from the ground up
GROUND = {"runtime", "lab", "language"}
# lines of Python: what we aim at, and what is there at most until we get there
AIMS = {
    "helpers/gpt": (1_700, 1_945),
    "helpers/storage": (1_000, 2_070),
    "helpers/labs": (3_600, 5_525),
    "helpers/classroom": (4_200, 4_805),
    "helpers": (10_700, 14_645),
    "tests": (11_500, 16_235),
    "tools": (1_700, 5_575),
}
MAX_LINES = 300


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def imports(source: str) -> list[tuple[str, list[str]]]:
    """(module, names) of each import, wherever in the source; no names for `import module`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found.append((node.module, [alias.name for alias in node.names]))
    return found


def room_of(path: Path) -> str:
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


MODULES = [path for path in python_files("helpers") if path != HELPERS / "__init__.py"]


def test_every_module_stands_in_a_room():
    assert {room_of(path) for path in MODULES} == {*ROOMS, *GROUND}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_a_room_uses_those_below_it_through_their_doors(path):
    own = room_of(path)
    below = ROOMS[: ROOMS.index(own)] if own in ROOMS else ()
    for module, names in imports(path.read_text(encoding="utf-8")):
        parts = module.split(".")
        assert names != ["*"], f"{path}: a star import"
        if parts[0] != "helpers" or (len(parts) > 1 and parts[1] == own):
            continue
        reached = [parts[1]] if len(parts) > 1 else names
        assert set(reached) <= {*below, *GROUND}, f"{path.relative_to(ROOT)} reaches up: {module} {names}"
        assert len(parts) <= 2, f"{path.relative_to(ROOT)} goes around the door of {parts[1]}: {module}"


def outside() -> list[tuple[str, str]]:
    """(name, source) of all that uses helpers and is no part of it: tests, tools, each notebook's code cells."""
    found = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in python_files("tests")]
    found += [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in python_files("tools")]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found.append((path.name, "\n".join(line for line in code.splitlines() if not line.startswith("%"))))
    return found


def test_others_enter_by_the_doors():
    for where, source in outside():
        for module, names in imports(source):
            parts = module.split(".")
            if parts[0] == "helpers":
                assert len(parts) <= 2, f"{where} goes around the door: {module}"
                assert not any(name.startswith("_") for name in names), f"{where} takes something private: {names}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_lists_what_the_room_offers(room):
    door = importlib.import_module(f"helpers.{room}")
    assert door.__doc__ and sorted(set(door.__all__)) == sorted(door.__all__)
    assert all(hasattr(door, name) for name in door.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_a_module_is_read_in_one_sitting(path):
    assert lines(path) <= MAX_LINES
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "it has no first sentence"


@cache
def sizes() -> dict[str, int]:
    return {folder: sum(map(lines, python_files(folder))) for folder in AIMS}


def sizes_told() -> str:
    """For the last lines of a run: conftest.py."""
    return " · ".join(f"{folder} {sizes()[folder]:,} (aim {aim:,})" for folder, (aim, _) in AIMS.items())


def test_the_house_grows_no_larger():
    assert {folder for folder, (_, most) in AIMS.items() if sizes()[folder] > most} == set()
