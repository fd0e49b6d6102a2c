"""Returned notebooks: whose they are, and which of their cells answer which exercise."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.notebooks import every_notebook

MAX_BYTES = 20_000_000  # of a returned notebook
MINUTES = re.compile(r"[●○]{3},? (\d+) min")
MAGIC = re.compile(r"^\s*[%!?].*$", re.MULTILINE)  # IPython's own lines
LOOK = re.compile(r"exercises|CHECKS|verdict|Mistake|_getframe|get_objects|__globals__|\.ipynb|ctypes|/proc/|os\.fork")


@dataclass(frozen=True)
class Exercise:
    """An exercise of the course: its notebook's stem, the name of its check, the function asked for, its minutes."""

    notebook: str
    name: str
    function: str
    minutes: int


@dataclass(frozen=True)
class Answer:
    """What somebody returned for an exercise: sources to run before, the cell, and the function's name in it.

    remarks  what a teacher should know about how it was found
    """

    who: str
    exercise: Exercise
    before: tuple[str, ...]
    cell: str
    function: str
    remarks: tuple[str, ...]


def exercises() -> dict[str, Exercise]:
    """The exercises of the course by the name of their check, in order."""
    found = {}
    for path in every_notebook():
        minutes = 0
        for kind, source in cells(path):
            said = MINUTES.findall(source) if kind == "markdown" else []
            minutes = int(said[-1]) if said else minutes
            for name, function in calls_of_check(source) if kind == "code" else ():
                found[name] = Exercise(path.stem, name, function, minutes)
    return found


def cells(path: Path) -> list[tuple[str, str]]:
    """(kind, source) of each cell. ValueError: the file is no notebook that can be read."""
    if path.is_symlink() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f"a link, or larger than {MAX_BYTES:,} bytes")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        return [(cell["cell_type"], "".join(cell["source"])) for cell in found]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no notebook that can be read: {type(error).__name__}: {error}") from None


def everyone(folder: Path) -> dict[str, list[Path]]:
    """Who returned which files: somebody's folder, or else the file's name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.ipynb")):
        inside = path.relative_to(folder)
        if ".ipynb_checkpoints" not in inside.parts:
            found.setdefault(inside.parts[0] if len(inside.parts) > 1 else path.stem, []).append(path)
    return found


def answers(who: str, code: Sequence[str], wanted: Iterable[Exercise]) -> list[Answer]:
    """The answers among the sources of one notebook's code cells, found by what they check or define, not by ids.

    Of several cells with one exercise the last counts. Before it come the imports, definitions and constants of the
    other cells: an exercise needs nothing else of its notebook.
    """
    code = [MAGIC.sub("", source) for source in code]
    checked = {(i, *call) for i, source in enumerate(code) for call in calls_of_check(source)}
    defined = [(i, name) for i, source in enumerate(code) for name in _defines(source)]
    names = {name for _, name, _ in checked}
    own = {exercise.notebook for exercise in wanted if exercise.name in names}
    found = []
    for exercise in wanted:
        places = sorted((i, function) for i, name, function in checked if name == exercise.name)
        if not places and (exercise.notebook in own or not own):  # the call of `check` was lost
            places = [(i, name) for i, name in defined if name == exercise.function]
        if places:
            i, function = places[-1]
            remarks = [f"{len(places)} cells have it, the last one counts"] * (len(places) > 1)
            if look := sorted(set(LOOK.findall(code[i]))):
                remarks.append(f"look at this cell: it names {', '.join(look)}")
            before = tuple(text for k, source in enumerate(code) if k != i for text in _harmless(source))
            found.append(Answer(who, exercise, before, _without_checks(code[i]), function, tuple(remarks)))
    return found


def calls_of_check(source: str) -> list[tuple[str, str]]:
    """(name of the check, name of the function) of each call of `check` in a cell."""
    calls = [node.value for node in _tree(source).body if isinstance(node, ast.Expr)]
    return [
        (call.args[0].value, call.args[1].id)
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check" and len(call.args) == 2
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[1], ast.Name)
    ]


def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # told when the cell is run
        named = re.search(r"^check\((['\"])([\w-]+)\1, (\w+)\)", source, re.MULTILINE)
        return ast.parse(named[0]) if named else ast.Module([], [])


def _defines(source: str) -> list[str]:
    return [node.name for node in _tree(source).body if isinstance(node, ast.FunctionDef)]


def _harmless(source: str) -> list[str]:
    """The imports, definitions and constants of a cell."""
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    return [ast.unparse(node) for node in _tree(source).body if isinstance(node, kinds) or _is_constant(node)]


def _is_constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _without_checks(source: str) -> str:
    return re.sub(r"^check\(.*$", "", source, flags=re.MULTILINE)
