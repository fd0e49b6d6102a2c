"""helpers stands in four rooms: a room imports only from the rooms below it, and others enter by its door."""

from __future__ import annotations

import ast
from pathlib import Path

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
ROOMS = ["gpt", "storage", "labs", "classroom"]  # each may use those before it
GROUND = {"runtime", "lab"}
MAX_LINES = 300


def modules() -> list[Path]:
    return [p for p in HELPERS.rglob("*.py") if p.relative_to(HELPERS).as_posix() != "__init__.py"]


def top_name(path: Path) -> str:
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full dotted names that the file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            assert all(alias.name != "*" for alias in node.names), f"{path}: star import"
    return names


def test_every_module_has_a_room():
    assert {top_name(p) for p in modules()} <= {*ROOMS, *GROUND}


def test_imports_go_down():
    for path in modules():
        own = top_name(path)
        below = {*GROUND, *(ROOMS[: ROOMS.index(own)] if own in ROOMS else ())}
        for name in imported(path):
            if name.startswith("helpers."):
                other = name.split(".")[1]
                assert other == own or other in below, f"{path.relative_to(HELPERS)} ({own}) imports {name}"


def test_modules_stay_readable():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MAX_LINES, path
        assert ast.get_docstring(ast.parse(text)), f"{path} has no first sentence"
