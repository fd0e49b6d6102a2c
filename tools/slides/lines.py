"""Two editions read side by side: English says what a line is, the other what is shown. They have the same lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Block(NamedTuple):
    """A paragraph, list, table, formula or heading: its English, and what is shown."""

    english: str
    shown: str

    @property
    def n_words(self) -> int:
        return len(self.shown.split())


def blocks(english: str, shown: str) -> Iterator[Block]:
    """What empty lines divide, of both texts at once.

    ValueError: the two have different numbers of lines.
    """
    pairs = list(zip(english.splitlines(), shown.splitlines(), strict=False))
    if english.count("\n") != shown.count("\n"):
        raise ValueError(f"the editions have other lines from {shown[:60]!r} on: make translate brings them in step")
    start, fenced = 0, False
    for i, (line, _) in enumerate([*pairs, ("", "")]):
        fenced ^= line.startswith("```")
        if (not line.strip() or _is_heading(pairs[i - 1][0] if i else "")) and not fenced:
            part = pairs[start:i]
            if part:
                yield Block("\n".join(a for a, _ in part), "\n".join(b for _, b in part))
            start = i + (not line.strip())


def _is_heading(line: str) -> bool:
    return line.startswith("#")


def sentences(text: str) -> list[str]:
    """A paragraph cut where a sentence ends, outside of formulas and code."""
    parts, depth = [""], 0
    for piece in re.split(r"(?:(?<=[.!?])|(?<=[.!?][)\"*])) (?=[^a-z])", text):
        parts[-1] += (" " if parts[-1] and depth else "") + piece
        depth = parts[-1].count("$") % 2 or parts[-1].count("`") % 2 or parts[-1].count("*") % 2
        depth = depth or parts[-1].count("(") > parts[-1].count(")")
        if not depth:
            parts.append("")
    return [part for part in parts if part]
