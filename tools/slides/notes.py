"""What a deck needs of the lecture notes: a class's plan, what to say, its questions with answers, the last lines."""

import re
from typing import NamedTuple

from tools.slides.lines import Block, blocks

PLAN = re.compile(r"## Plan(?:: class (\d))?")
ROW = re.compile(r"\| (\d+)(?: to (\d+))? \| (.*?) \| (.*?) ?\|$")
CELL = re.compile(r"cell-id=([\w-]+)|`([\w-]+)`")


class Row(NamedTuple):
    """A row of the plan: how long, what, and the ids of its cells."""

    minutes: int
    what: str
    cells: list[str]


class Notes(NamedTuple):
    """Lecture notes of one notebook. Blocks are as in `lines`; a question is one with its answer."""

    goal: list[Block]
    plans: dict[str, list[Row]]  # by the number of the class, or ""
    advice: list[Block]  # what stands around the plans: stop points, what takes time
    say: list[Block]
    predictions: list[Block]
    questions: list[tuple[Block, list[Block]]]
    last_lines: list[Block]


def cells(block: Block) -> set[str]:
    """The ids of cells that a text may name."""
    return {a or b for a, b in CELL.findall(block.english)}


def read(english: str, shown: str) -> Notes:
    """Of a page of lecture notes in both languages."""
    parts: dict[str, list[Block]] = {}
    heading = ""
    for block in blocks(english, shown):
        if block.english.startswith("## "):
            heading = block.english
        else:
            parts.setdefault(heading, []).append(block)
    plans = {match[1] or "": parts[name] for name in parts if (match := PLAN.match(name))}

    def under(beginning: str) -> list[Block]:
        return next((part for name, part in parts.items() if name.startswith(beginning)), [])

    return Notes(
        goal=under("## Goal"),
        plans={number: rows(part) for number, part in plans.items()},
        advice=[block for part in plans.values() for block in part if not block.english.startswith("|")],
        say=_items(under("## What to say")),
        predictions=_items(under("## Predictions")),
        questions=_questions(under("## Questions")),
        last_lines=under("## Seven lines"),
    )


def rows(plan: list[Block]) -> list[Row]:
    found = []
    for table in (block for block in plan if block.english.startswith("|")):
        for a, b in zip(table.english.splitlines(), table.shown.splitlines(), strict=True):
            if match := ROW.match(a):
                minutes = int(match[2]) - int(match[1]) if match[2] else int(match[1])
                what = re.sub(r"\]\([^)]*\)", "]", ROW.match(b)[3] if ROW.match(b) else b.split(" | ")[1])
                found.append(Row(minutes, what, [x or y for x, y in CELL.findall(match[4])]))
    return found


def _items(part: list[Block]) -> list[Block]:
    """Each item of a list, and each row of a table that names a cell, for itself."""
    pairs = [pair for block in part for pair in zip(*(text.splitlines() for text in block), strict=True)]
    rows_ = [(a, b) for a, b in pairs if a.startswith("- ") or (a.startswith("| ") and "`" in a)]
    return [Block(*(line.strip("-| ").replace(" | ", " · ") for line in pair)) for pair in rows_]


def _questions(part: list[Block]) -> list[tuple[Block, list[Block]]]:
    """A paragraph that begins in bold is a question, up to the end of the bold, and its answer."""
    found: list[tuple[Block, list[Block]]] = []
    for block in part:
        asked = [re.match(r"\*\*(.+?)\*\*(?: |$)", text, re.DOTALL) for text in block]
        if all(asked):
            rest = Block(*(text[match.end() :].strip() for text, match in zip(block, asked, strict=True)))
            found.append((Block(*(match[1] for match in asked)), [rest] if rest.english else []))
        elif found:
            found[-1][1].append(block)
    return found
