"""What is wrong with a translation, said so that a translator can mend it."""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import polib

from tools.translate import prose
from tools.translate.catalogue import EVERYWHERE, FOLDER, is_open, load
from tools.translate.quoting import in_quotes

ENGLISH = re.compile(r"\b(the|of|and|is|are|which|with|that|from|this|not|each|was|were|to|have|has|you|your)\b", re.I)
NUMBER = re.compile(r"\d+(?:[.,]\d+)+|\d{2,}")  # one digit may be a word, or a sum that "becomes 0"
SAID_BY_OTHERS = re.compile(
    r"\[\w+(?:-\w+)+\]\([^)]*\)|`[^`]*`|\$[^$]*\$|(?<!\*)\*(?!\*)[^*]+\*|\"[^\"]*\"|“[^”]*”|\{[^{}]*\}|\]\([^)]*\)|<[^>]*>"
)


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
    for text in (text for text, times in meanings.items() if times > 1):
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
    elif entry.comment == "message" and Counter(re.findall(r"\{.*?\}", english)) != Counter(
        re.findall(r"\{.*?\}", other)
    ):
        yield "other placeholders than the English"
    if english[:1].isspace() != other[:1].isspace() or english[-1:].isspace() != other[-1:].isspace():
        yield "a space or line break at the beginning or end is lost or new"
    if Counter(NUMBER.findall(english)) != Counter(NUMBER.findall(other)):
        yield "other numbers than the English"
    if entry.tcomment != "keep" and entry.comment != "word":
        yield from _language_faults(english, other)


def _language_faults(english: str, other: str) -> Iterator[str]:
    left = ENGLISH.findall(SAID_BY_OTHERS.sub(" ", other))
    if left:
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
