"""The gate of `make lint`: catalogues in step, complete and right; the program the same; all as it is built.

Whatever is wrong is said so that a translator can mend it.
"""

import ast
import csv
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
import polib

from tools.translate import catalogue, edition, messages, prose
from tools.translate.catalogue import EVERYWHERE, FOLDER, ROOT, STAMPED, is_open, load
from tools.translate.literals import in_quotes, without_magics

WAY_OUT = "run `make translate`"
ENGLISH = re.compile(r"\b(the|of|and|is|are|which|with|that|from|this|not|each|was|were|to|have|has|you|your)\b", re.I)
NUMBER = re.compile(r"\d+(?:[.,]\d+)+|\d{2,}")  # one digit may be a word, or a sum that "becomes 0"
SAID_BY_OTHERS = re.compile(
    r"\[\w+(?:-\w+)+\]\([^)]*\)|`[^`]*`|\$[^$]*\$|(?<!\*)\*(?!\*)[^*]+\*|\"[^\"]*\"|“[^”]*”|\{[^{}]*\}|\]\([^)]*\)|<[^>]*>"
)


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
    if not committed.exists() or _essence(new) != _essence(committed):
        yield f"{edition.counterpart(name)} is not what its English and its catalogue make: {WAY_OUT}"
    if new.suffix == ".ipynb":
        for a, b in zip(*(nbformat.read(path, 4).cells for path in (catalogue.source(name), new)), strict=True):
            if a.cell_type == "code" and a["id"] not in STAMPED and program(a.source) != program(b.source):
                yield f"{name}, {a['id']}: the translation changes the program: mend the entries of this cell"


def _essence(path: Path) -> object:
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


class Term(NamedTuple):
    """A row of the glossary; `english`, `accepted` and `forbidden` are patterns, any of them may be empty.

    Where the English occurs, one of `accepted` must and none of `forbidden` may; without English, it never may.
    """

    english: str
    portuguese: str
    accepted: str
    forbidden: str

    def faults(self, english: str, other: str) -> Iterator[str]:
        if self.english and not occurs(self.english, SAID_BY_OTHERS.sub(" ", english)):
            return
        if self.accepted and not re.search(self.accepted, other, re.I):
            yield f"{self.english} is {self.portuguese} in this course (glossary.csv)"
        if self.forbidden and occurs(self.forbidden, SAID_BY_OTHERS.sub(" ", other)):
            yield f"say {self.portuguese}, not {self.forbidden} (glossary.csv)"


def occurs(pattern: str, text: str) -> bool:
    """Whether it stands in the text as whole words."""
    return bool(re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.I))


@cache
def glossary() -> tuple[Term, ...]:
    with open(FOLDER / "glossary.csv", encoding="utf-8", newline="") as file:
        rows = (Term(**row) for row in csv.DictReader(file))
        return tuple(term for term in rows if term.accepted or term.forbidden)


def faults(name: str) -> Iterator[str]:
    """Everything that is wrong with the translations of a catalogue; what is not translated is not looked at."""
    done = [entry for entry in load(name) if not is_open(entry)]
    words = {entry.msgid: entry.msgstr for entry in done if entry.msgctxt == EVERYWHERE}
    for entry in done:
        for fault in entry_faults(entry, words):
            yield f"{name}, {entry.msgctxt or 'text'}: {fault}\n    {entry.msgid}\n    {entry.msgstr}"
    meanings = Counter(entry.msgstr or entry.msgid for entry in load(name) if entry.msgctxt == EVERYWHERE)
    for text, times in meanings.items():
        if times > 1:
            yield f"{name}: two words of the program become one, {text!r}: give them different translations"


def entry_faults(entry: polib.POEntry, words: dict[str, str]) -> Iterator[str]:
    english, other = entry.msgid, entry.msgstr
    if entry.comment == "prose":
        yield from prose.faults(english, other, words)
    elif entry.comment == "comment":
        if not other.startswith("#") or "\n" in other:
            yield "a comment begins with # and is one line"
    elif entry.comment == "f-string":
        yield from _placeholder_faults(english, other)
    elif entry.comment == "message":
        here, there = (Counter(re.findall(r"\{.*?\}", text)) for text in (english, other))
        if here != there:
            yield "other placeholders than the English"
    if english[:1].isspace() != other[:1].isspace() or english[-1:].isspace() != other[-1:].isspace():
        yield "a space or line break at the beginning or end is lost or new"
    if Counter(NUMBER.findall(english)) != Counter(NUMBER.findall(other)):
        yield "other numbers than the English"
    if entry.tcomment != "keep" and entry.comment != "word":
        if left := ENGLISH.findall(SAID_BY_OTHERS.sub(" ", other)):
            yield f'English is left ({", ".join(left[:4])}); what must stay has the translation "KEEP"'
        for term in glossary():
            yield from term.faults(english, other)


def _placeholder_faults(english: str, other: str) -> Iterator[str]:
    try:
        here, there = (placeholders(ast.parse(in_quotes(text, "f"), mode="eval").body) for text in (english, other))
    except (SyntaxError, ValueError) as error:
        yield f"not an f-string: {error}"
        return
    if here != there:
        yield "other placeholders than the English: their code and format stay, only strings inside may be translated"


def placeholders(node: ast.JoinedStr) -> Counter:
    """The placeholders of an f-string, strings inside them left out: their order is free, what they compute is not."""
    found = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            for inner in ast.walk(part.value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    inner.value = ""
            found.append(ast.dump(part))
    return Counter(found)
