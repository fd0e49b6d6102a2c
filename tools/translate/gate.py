"""The gate of `make lint`: catalogues in step and complete, the program the same, what is committed what is built."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tools.translate import catalogue, edition, messages
from tools.translate.catalogue import ROOT, STAMPED
from tools.translate.checks import faults, placeholders
from tools.translate.literals import without_magics

WAY_OUT = "run `make translate`"


def gate() -> Iterator[str]:
    """Everything that keeps the two editions from being one course, each with what to do about it."""
    for name in catalogue.names():
        yield from faults(name)
        if name not in catalogue.unfinished():
            yield from [*out_of_step(name), *gaps(name)]
    if messages.table(catalogue.speaker("helpers")) != messages.stored():
        yield f"{messages.FILE.relative_to(ROOT)} is not what i18n/pt_BR/helpers.po says: {WAY_OUT}"
    with tempfile.TemporaryDirectory() as folder:
        edition.build(Path(folder), edition.finished())
        for name in edition.finished():
            yield from not_as_built(name, Path(folder))


def out_of_step(name: str) -> Iterator[str]:
    """English that its catalogue does not have, and the other way round."""
    known = {(entry.msgctxt, entry.msgid) for entry in catalogue.load(name)}
    current = {(entry.context, entry.text) for entry in catalogue.entries(name)}
    for context, text in sorted(current ^ known, key=str):
        what = "new or reworded English" if (context, text) in current else "no longer in the English"
        yield f"{name}, {context or 'text'}: {what}, {WAY_OUT}, then `todo`: {text[:70]!r}"


def gaps(name: str) -> Iterator[str]:
    for entry in filter(catalogue.is_open, catalogue.load(name)):
        what, text = "reworded" if entry.fuzzy else "not translated", entry.msgid[:60]
        yield f"{name}, {entry.msgctxt or 'text'}: {what}: `python -m tools.translate todo {name}`: {text!r}"


def not_as_built(name: str, folder: Path) -> Iterator[str]:
    """A committed file that is not what its English and its catalogue make, or that computes something else."""
    new, committed = (home / edition.counterpart(name) for home in (folder, ROOT))
    if not committed.exists() or essence(new) != essence(committed):
        yield f"{edition.counterpart(name)} is not what its English and its catalogue make: {WAY_OUT}"
    if new.suffix == ".ipynb":
        for a, b in zip(*(nbformat.read(path, 4).cells for path in (catalogue.source(name), new)), strict=True):
            if a.cell_type == "code" and a["id"] not in STAMPED and program(a.source) != program(b.source):
                yield f"{name}, {a['id']}: the translation changes the program: mend the entries of this cell"


def essence(path: Path) -> object:
    """A page's text; of a notebook what is not an output."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return [(c["id"], c.cell_type, c.source, c.metadata) for c in nbformat.read(path, 4).cells]


def program(source: str) -> str:
    """What a cell computes, its texts left out: strings blanked, of f-strings the placeholders in any order."""
    return ast.dump(_Blank().visit(ast.parse(without_magics(source))))


class _Blank(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant(str(sorted(placeholders(node).elements())))
