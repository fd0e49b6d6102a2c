"""helpers stands in layers: a module imports only from lower ones; plots and page know no torch."""

from __future__ import annotations

import ast
from pathlib import Path

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
LAYERS = [
    {"config", "runtime", "tokenizer", "texts", "plots", "page", "cache", "dropout", "lab"},
    {"model", "loss", "data", "schedule", "measuring"},
    {"train", "decode", "checkpoint", "weights", "metrics", "budget", "scores"},
    {"checks", "widgets", "progress", "weekly_report", "ladder"},
    {"pretrain"},
    {"pretrained"},
]
TORCHLESS = {"config", "tokenizer", "texts", "plots", "page", "budget", "schedule", "scores", "lab"}
MAX_LINES = 300


def modules() -> list[Path]:
    return [p for p in HELPERS.rglob("*.py") if p.relative_to(HELPERS).as_posix() != "__init__.py"]


def top_name(path: Path) -> str:
    return path.relative_to(HELPERS).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


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


def test_every_module_has_a_layer():
    known = set().union(*LAYERS)
    assert {top_name(p) for p in modules()} <= known


def test_imports_go_down():
    for path in modules():
        own = top_name(path)
        for name in imported(path):
            if not name.startswith("helpers."):
                continue
            other = name.split(".")[1]
            assert other == own or layer(other) < layer(own), f"{own} (layer {layer(own)}) imports {other}"


def test_some_modules_know_no_torch():
    for path in modules():
        if top_name(path) in TORCHLESS:
            assert not any(name.split(".")[0] == "torch" for name in imported(path)), path


def test_modules_stay_readable():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MAX_LINES, path
        assert ast.get_docstring(ast.parse(text)), f"{path} has no first sentence"
