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

from tools.notebooks import numbered

ROOT = Path(__file__).resolve().parents[1]
HELPERS = ROOT / "helpers"
ROOMS = ("gpt", "storage", "labs", "classroom")  # from the ground up
GROUND = {"runtime", "lab", "language"}
# lines of Python: what we aim at, and what is there at most until we get there
AIMS = {
    "helpers/gpt": (1_700, 2_000),
    "helpers/storage": (1_000, 2_155),
    "helpers/labs": (3_600, 5_680),
    "helpers/classroom": (4_200, 4_845),
    "helpers": (10_700, 15_065),
    "tests": (11_500, 17_825),
    "tools": (1_700, 5_925),
}
MAX_LINES = 300


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("[!.]*.py"))


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


def imported(tree: ast.Module) -> dict[str, str]:
    """Name in a source -> what it stands for, of all that is imported from helpers."""
    froms = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module.split(".")[0] == "helpers"]
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(path: Path) -> str:
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


MODULES = [path for path in python_files("helpers") if path != HELPERS / "__init__.py"]


def test_every_module_stands_in_a_room():
    assert {room_of(path) for path in MODULES} == {*ROOMS, *GROUND}


def test_the_readme_s_tree_names_them_all():
    tree = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [path for path in HELPERS.glob("*/[!.]*") if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = {path.name if path.suffix else f"{path.name}/" for path in shown} - {"__init__.py"}
    assert len(names) >= 40 and {name for name in names if name not in tree} == set()


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
    for path in numbered(ROOT / "notebooks"):
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


TREES = {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
DOORS = [dotted(path) for path in MODULES if path.name == "__init__.py"]
THROUGH = {f"{door}.{name}": source for door in DOORS for name, source in imported(TREES[door]).items()}
# used by no notebook, tool, command or other module, and offered all the same
UNUSED = {
    "helpers.gpt.sampling": "the steps of next_probs, each a function of the scores",
    "helpers.lab": "a command, run by `make lab` and by hand",
    "helpers.storage.weights.gguf_file.PACKAGED": "the table that tests put a small package into",
    "helpers.labs.speed": "tests measure with each part alone",
    "helpers.labs.pretrain": "tests take a step of the command alone",
    "helpers.labs.changes.best_rate": "making the record takes minutes: tests take its parts",
    "helpers.labs.changes.excess_by_position": "the same",
    "helpers.labs.quantise.size_bytes": "the same",
    "helpers.labs.training_grid.train_once": "the same",
    "helpers.labs.distributed.unscored": "the same of a run on several ranks",
    "helpers.classroom.reports.headings": "what a test reads a report by",
    "helpers.labs.pretrained.card": "the text of notebook 05 names it",
    "helpers.labs.scaling.sweep.excess": "that of notebook 10",
}


def defined(name: str) -> str:
    return defined(THROUGH[name]) if THROUGH.get(name, name) != name else name


def used(tree: ast.Module) -> set[str]:
    """What a source uses of helpers, named by where it is defined: what it imports, and the attributes of that."""
    known, found = imported(tree), set()
    for node in ast.walk(tree):
        first, *rest = ast.unparse(node).split(".") if isinstance(node, ast.Name | ast.Attribute) else [""]
        if first in known:
            found |= {*accumulate([defined(known[first]), *rest], lambda module, name: defined(f"{module}.{name}"))}
    return found


def offered() -> set[tuple[str, str]]:
    """(folder or module, where a name of its is defined): what doors list, and each module's public functions.

    Left out: modules, which are judged by their functions; classes, which callers meet as values and as errors; an
    exercise's check, which goes by its registered name; a command's own functions.
    """
    lists = {door: getattr(importlib.import_module(door), "__all__", ()) for door in DOORS}
    found = {(door, defined(f"{door}.{name}")) for door in lists for name in lists[door]}
    left_out = set(TREES)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                left_out.add(f"{module}.{node.name}")
            elif isinstance(node, ast.FunctionDef) and "register(" not in "".join(
                map(ast.unparse, node.decorator_list)
            ):
                found.add((module, f"{module}.{node.name}"))
    return {(owner, name) for owner, name in found if name not in left_out and "._" not in name}


def test_what_is_offered_is_used():
    users = {where: used(ast.parse(source)) for where, source in outside() if not where.startswith("tests/")}
    users |= {module.replace(".__main__", " as a command"): used(tree) for module, tree in TREES.items()}
    unused = {
        name
        for owner, name in offered()
        if not any(name in uses for user, uses in users.items() if not f"{user}.".startswith(f"{owner}."))
    }
    excuses = {name: {begin for begin in UNUSED if f"{name}.".startswith(f"{begin}.")} for name in unused}
    assert {name for name, found in excuses.items() if not found} == set()
    assert UNUSED.keys() - set().union(*excuses.values()) == set(), "an excuse for nothing"


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
