"""A text of a catalogue as Python source."""

from __future__ import annotations

QUOTES = ('"', "'", '"""', "'''")


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
