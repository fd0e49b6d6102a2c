"""Two editions read side by side: English says what a line is, the other what is shown. They have the same lines."""

import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_TABLE = 250  # words


class Block(NamedTuple):
    """A paragraph, list, table, formula or heading: its English, and what is shown."""

    english: str
    shown: str


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
        if (not line.strip() or (i and pairs[i - 1][0].startswith("#"))) and not fenced:
            part = pairs[start:i]
            if part:
                yield Block("\n".join(a for a, _ in part), "\n".join(b for _, b in part))
            start = i + (not line.strip())


def halves(block: Block) -> list[Block]:
    """A table that is too long for a slide in two, each with its heading; everything else as it is."""
    english, shown = block.english.split("\n"), block.shown.split("\n")
    n_words = [len(row.split()) for row in shown]
    if not block.shown.startswith("|") or sum(n_words) <= LONGEST_TABLE:
        return [block]
    middle = next(i for i in range(3, len(shown)) if sum(n_words[2 : i + 1]) * 2 >= sum(n_words[2:]))
    return [
        Block("\n".join(english[:2] + english[a:b]), "\n".join(shown[:2] + shown[a:b]))
        for a, b in ((2, middle), (middle, len(shown)))
    ]


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
