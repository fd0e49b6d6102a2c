"""A text of a catalogue as Python source."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from tools.translate.literals import Literal, template

QUOTES = ('"', "'", '"""', "'''")
WIDTH = 110  # from here on a string is cut between words, where it stands in brackets
PIECE = 90


def literal_source(text: str, literal: Literal, source: str) -> str:
    """What stands in the source in place of `literal` so that it says `text`."""
    if literal.kind == "comment":
        return text
    if literal.kind == "docstring":
        return '"""' + text.replace("\\", "\\\\") + '"""'
    prefix = "f" if literal.kind == "f-string" else ""
    column = literal.start - (source.rfind("\n", 0, literal.start) + 1)
    nested = re.search(r"\{[^{}]*\{", text.replace("{{", ""))
    if not literal.bracketed or nested or column + len(text) <= WIDTH:
        return in_quotes(text, prefix)
    pieces = [""]
    for word in re.findall(r"(?:\{\{|\}\}|\{[^{}]*\}|[^\s{}])+\s*|\s+", text):
        if len(pieces[-1]) + len(word) > PIECE and pieces[-1]:
            pieces.append("")
        pieces[-1] += word
    return "\n".join(in_quotes(piece, prefix if prefix and re.search("[{}]", piece) else "") for piece in pieces)


def in_quotes(text: str, prefix: str = "") -> str:
    """A string literal, or with the prefix "f" an f-string, whose placeholders' own quotes decide which are left.

    ValueError: an f-string in which all kinds of quotes occur.
    """
    body = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    for quote in QUOTES:
        if quote not in body and not body.endswith(quote[0]):
            return prefix + quote + body + quote
    if prefix:
        raise ValueError(f"all kinds of quotes occur in {text!r}: leave one out")
    return '"' + body.replace('"', '\\"') + '"'


def with_words(text: str, say: Callable[[str], str]) -> str:
    """An f-string's text in which strings inside placeholders, keys most of all, are said by `say`."""
    tree = ast.parse(in_quotes(text, "f"), mode="eval").body
    changed = False
    for part in tree.values if isinstance(tree, ast.JoinedStr) else []:
        for node in ast.walk(part.value) if isinstance(part, ast.FormattedValue) else []:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and say(node.value) != node.value:
                node.value, changed = say(node.value), True
    return template(tree) if changed else text
