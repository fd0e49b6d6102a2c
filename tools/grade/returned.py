"""Returned notebooks: whose they are, and which of their cells answer which exercise."""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from IPython.core.inputtransformer2 import TransformerManager

from helpers.language import ENGLISH, LOCALE, t
from tools.notebooks import every_notebook

MAX_BYTES, MAX_CODE = 20_000_000, 400_000  # of a returned notebook, and characters of the code in it
MINUTES = re.compile(r"[●○]{3},? (\d+) min")
CHEAP = re.compile(r"math\.\w+|range|len|float|int|dict|list|set|tuple|zip")
LANGUAGE = re.compile(r"runtime\.start\([^)\n]{0,200}language=.(\w+)")
COMMAND = r"(?:[^\n#'\"=]*=[ \t]*)?(?:!(?!=)|%+[a-zA-Z])(?:.*\\\n)*.*"  # !ls, %time f(), files = !ls
MAGIC = re.compile(rf"^([ \t]*)(?=\S)(?:{COMMAND}|\?.*|[%\w.*]+\?\??[ \t]*$)", re.MULTILINE)  # also f?, ?f
LOOK = re.compile(r"exercises|CHECKS|verdict|Mistake|_getframe|get_objects|__globals__|\.ipynb|ctypes|/proc/|os\.fork")
LEFT_BY_SYSTEMS = {"Thumbs.db", "desktop.ini", "__MACOSX"}  # beside those that begin with a dot


class Exercise(NamedTuple):
    """An exercise of the course: its notebook's stem, the name of its check, the function asked for, its minutes."""

    notebook: str
    name: str
    function: str
    minutes: int


class Answer(NamedTuple):
    """What somebody returned for an exercise: the notebook's other cells, the cell, and the function's name in it.

    language  of the notebook
    note      what the student should know about how it was found; look: what the teacher should
    """

    who: str
    exercise: Exercise
    before: tuple[str, ...]
    cell: str
    function: str
    language: str
    note: str
    look: str


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
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError(t("a link, a device, or larger than {n:,} bytes", n=MAX_BYTES))
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        found = [(cell["cell_type"], "".join(cell["source"])) for cell in found]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(t("no notebook that can be read: {error}", error=told)) from None
    if sum(len(source) for kind, source in found if kind == "code") > MAX_CODE:
        raise ValueError(t("more than {n:,} characters of code", n=MAX_CODE))
    return found


def everyone(folder: Path) -> dict[str, list[Path]]:
    """Who returned which notebooks, by the folder or else the name of a file; none where files are no notebooks."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if not any(part.startswith(".") or part in LEFT_BY_SYSTEMS for part in inside):
            own = found.setdefault(inside[0] if len(inside) > 1 or path.is_dir() else path.stem, [])
            own += [path] * (path.suffix.lower() == ".ipynb")
    return found


def answers(who: str, code: Sequence[str], wanted: Iterable[Exercise]) -> list[Answer]:
    """The answers among the sources of one notebook's code cells, found by what they check or define, not by ids.

    Of several cells with one exercise the last counts.
    """
    checked = {(i, *call) for i, source in enumerate(code) for call in calls_of_check(source)}
    defined = [
        (i, node.name)
        for i, source in enumerate(code)
        for node in tree(source).body
        if isinstance(node, ast.FunctionDef)
    ]
    names = {name for _, name, _ in checked}
    own = {exercise.notebook for exercise in wanted if exercise.name in names}
    said = LANGUAGE.search("\n".join(code))
    language = said[1] if said and (LOCALE / f"{said[1]}.json").is_file() else ENGLISH
    found = []
    for exercise in wanted:
        places = sorted((i, function) for i, name, function in checked if name == exercise.name)
        if not places and (exercise.notebook in own or not own):  # the call of `check` was lost
            places = [(i, name) for i, name in defined if name == exercise.function]
        if places:
            i, function = places[-1]
            note = t("{n} cells have it, the last one counts", n=len(places)) if len(places) > 1 else ""
            look = ", ".join(sorted(set(LOOK.findall(code[i]))))
            before = tuple(source for k, source in enumerate(code) if k != i)
            found.append(Answer(who, exercise, before, code[i], function, language, note, look))
    return found


def calls_of_check(source: str) -> list[tuple[str, str]]:
    """(name of the check, name of the function) of each call of `check` in a cell."""
    calls = [node.value for node in tree(source).body if isinstance(node, ast.Expr)]
    return [
        (call.args[0].value, call.args[1].id)
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check" and len(call.args) == 2
        if isinstance(call.args[0], ast.Constant) and isinstance(call.args[1], ast.Name)
    ]


@lru_cache(maxsize=512)
def tree(source: str) -> ast.Module:
    """What a cell says to Python, or at least the check that it calls where it says nothing."""
    try:
        return parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # told when the cell is run
        named = re.search(r"^check\((['\"])([\w-]+)\1, (\w+)\)", source, re.MULTILINE)
        return ast.parse(named[0]) if named else ast.Module([], [])


def parsed(source: str) -> ast.Module:
    """As IPython reads it, magics left out. SyntaxError: it cannot."""
    ipython = TransformerManager()
    ipython.token_transformers = []  # for each magic they read the whole cell anew: a stranger's takes minutes
    code = ipython.transform_cell(re.sub(r"^\s*%%.*", "", source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash in a text, say
        try:
            return ast.parse(code)
        except SyntaxError:
            return ast.parse(MAGIC.sub(r"\1pass", code))


def is_harmless(node: ast.stmt) -> bool:
    """Whether it is an import, a definition, or something that is computed at once: no call but of CHEAP."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(node.value, ast.Lambda):
        calls = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
        return all(CHEAP.fullmatch(ast.unparse(function)) for function in calls)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)
