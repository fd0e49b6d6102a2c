"""The sentences of a card's script: its strings and templates with words, of HTML the text between tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

WORDS = re.compile(r"[^\W\d_]{2,}")
NAME = re.compile(r"(?:fixed|readable\w+|amount|percent|money|number)?\(?\s*([a-zA-Z_]\w*)[^a-zA-Z]*$")
CODE = re.compile(
    r"[=#@<>]|^\W*$|^[a-z.\[]+[-_:\[]|\}_|^\.|^(?:true|false|hidden|summary|click|button|keydown|string|input)$|^[a-z]+\d|\w\(|^\w+[A-Z]\w*$"
)
KEY = re.compile(r"^\w*\{\w+\}$|\}_|^\{\w+\}\w+$")  # such as size{i}, {name}_text
QUOTES = "\"'`"
JOINED = re.compile(r"\s*\+\s*(?=[\"'`])")
REGEX = re.compile(r"(?:[^\\/\n\[]|\\.|\[(?:[^\]\\]|\\.)*\])*/\w*")
COMMENT = re.compile(r"^\s*//.*\n|\s+//\s.*$", re.MULTILINE)


def sentences(script: str) -> Iterator[str]:
    """What a reader may see, with `{name}` for what the script puts in."""
    for text in literals(COMMENT.sub("", script)):
        pieces = [text]
        if "<" in text:
            pieces = re.findall(r'aria-label="([^"]*)"', text) + re.split(r"<[^>]*>", text.replace("&nbsp;", " "))
            pieces = [piece.strip() for piece in pieces]
        for piece in pieces:
            fixed = re.sub(r"\{[^{}]*\}", " ", piece).strip()
            if WORDS.search(fixed) and not CODE.search(fixed) and not KEY.search(piece):
                yield piece


def literals(script: str) -> Iterator[str]:
    """Each string and template of a script, those that a + joins as one; inner ones after the one that holds them."""
    i = 0
    while i < len(script):
        if script[i] in QUOTES:
            text, inner, i = _literal(script, i, 0)
            while more := JOINED.match(script, i):
                further, expressions, i = _literal(script, more.end(), len(inner))
                text, inner = text + further, inner + expressions
            yield text
            for expression in inner:
                yield from literals(expression)
        elif script[i] == "/" and re.search(r"[(,=:!&|?{};]\s*$", script[max(0, i - 20) : i]):  # a regular expression
            i = REGEX.match(script, i + 1).end()
        else:
            i += 1


def _literal(script: str, i: int, n_before: int) -> tuple[str, list[str], int]:
    """Of what begins at i: its text with names for its expressions, these, and where it ends."""
    quote, text, inner = script[i], "", []
    i += 1
    while script[i] != quote:
        if quote == "`" and script.startswith("${", i):
            end = _closing(script, i + 2)
            inner.append(script[i + 2 : end])
            name = NAME.match(inner[-1])
            name = name[1] if name and f"{{{name[1]}}}" not in text else str(n_before + len(inner))
            text, i = text + f"{{{name}}}", end + 1
        elif script[i] == "\\":
            escape = re.match(r"\\(u[0-9a-f]{4}|.)", script[i:])[0]
            text, i = text + json.loads(f'"{escape}"' if escape[1] in 'nu"\\' else f'"{escape[1]}"'), i + len(escape)
        else:
            text, i = text + script[i], i + 1
    return text, inner, i + 1


def _closing(script: str, i: int) -> int:
    """Where the brace closes that was opened before i."""
    while script[i] != "}":
        if script[i] == "{":
            i = _closing(script, i + 1)
        elif script[i] in QUOTES:
            i = _literal(script, i, 0)[2] - 1
        i += 1
    return i
