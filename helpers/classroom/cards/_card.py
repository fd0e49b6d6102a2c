"""The frame of a card: a sentence and a table as HTML, and a script that draws all the rest where it runs.

The script finds its card by id, because front ends differ in where they run it. Where a sanitiser takes scripts and
styles away, the title, the sentence and the table remain.
"""

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from helpers.classroom.pages import escaped
from helpers.language import agreement, said_in, spoken

ASSETS = Path(__file__).parent
PLAIN_STYLE = "background-color: #ffffff; color: #16191d; padding: 14px 20px"
SAID_TO_READERS = {"error", "note", "notice", "made"}  # of a config
_COUNTERS: dict[str, Iterator[int]] = defaultdict(lambda: count(1))
_NOT_NEEDED = re.compile(r"^\s*//.*\n|\s+//\s.*$|^ +", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Card:
    """A widget on the page. Displaying it gives it the next id of its kind, so every run from the top has the same ids.

    kind      names the script beside this file and begins the id
    title     heading
    sentence  what the card says first, in a line: under its title, and in plain text
    values    what the inputs say at first
    config    plain JSON that the script needs besides: numbers from `gpt` and `labs`
    table     rows of cells, the first of them the head: what a reader sees where no script runs
    still     what such a reader is told
    attributes  more attributes of the outermost element

    The script brings two functions of JSON. `view(id, values, config)` returns the body as HTML, with elements that
    carry data-key (written to) and data-in (read from). `compute(values, config)` returns what is written into them.
    """

    kind: str
    title: str
    sentence: str
    values: dict[str, float]
    config: dict[str, object]
    table: Sequence[Sequence[str]] = ()
    still: str = "Run this cell to move the sliders."
    attributes: str = ""

    def __repr__(self) -> str:
        return f"{spoken(self.title)} · {spoken(self.sentence)}"

    def _repr_html_(self) -> str:
        return self.markup(next_id(self.kind))

    def markup(self, card_id: str) -> str:
        """The card as HTML under the given id."""
        return (
            f'<div class="cw" role="region" id="{card_id}" data-config="{attribute(self.config)}"'
            f' data-values="{attribute(self.values)}" {self.attributes}'
            f' aria-label="{html.escape(spoken(self.title))}" style="{PLAIN_STYLE}"><style>{_style(self.kind)}</style>'
            f'<p class="cw-title"><b>{escaped(spoken(self.title))}</b></p>'
            f'<p data-key="summary" aria-live="polite">{escaped(spoken(self.sentence))}</p>'
            f'<p class="cw-still cw-note"><i>{escaped(spoken(self.still))}</i></p>'
            f'<div class="cw-plain">{_table(self.table)}</div><div class="cw-body"></div>'
            f'<script>(() => {{\n"use strict";\n{_scripts(self.kind)}'
            f'start("{card_id}", compute, view);\n}})();</script>'
            "</div>"
        )


def next_id(kind: str) -> str:
    """`kind-1`, `kind-2`, …: counted, never random, so that stored and new outputs are equal."""
    return f"{kind}-{next(_COUNTERS[kind])}"


def _style(kind: str) -> str:
    files = [ASSETS / "card.css", ASSETS / f"{kind}.css"]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.exists()).replace("\n", "")


def _scripts(kind: str) -> str:
    names = "runtime", *(["log_slider"] if kind in ("cost", "size") else []), kind
    together = "".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in names)
    said = json.dumps(said_in(together), ensure_ascii=False).replace("</", "<\\/")
    agree = json.dumps(agreement(), ensure_ascii=False)
    spoken_by_it = f"const SAID = {said}, AGREE = {agree};"
    return _NOT_NEEDED.sub("", together).replace("const SAID = [], AGREE = [];", spoken_by_it)


def _table(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head, *body = (
        "".join(f"<{tag}>{escaped(spoken(cell))}</{tag}>" for cell in row)
        for row, tag in zip(rows, ["th", *["td"] * len(rows)], strict=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in body)}</tbody></table>"


def attribute(numbers: dict[str, object]) -> str:
    """JSON for an attribute of HTML, what it says to the reader in the chosen language."""
    said = {key: spoken(text) for key, text in numbers.items() if key in SAID_TO_READERS and text}
    return html.escape(json.dumps(numbers | said, ensure_ascii=False, separators=(",", ":")))
