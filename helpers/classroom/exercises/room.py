"""The room's predictions, however they come: a list, a line, a form's CSV file, or that file's address."""

import codecs
import csv
import io
import re
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.classroom.exercises.answers import NUMBER, RANGE, THREE_AFTER, Guess, Reader
from helpers.classroom.exercises.grader import cut

SCHEMES = ("https",)  # of the addresses that are asked
PATIENCE_S, MAX_BYTES = 15, 2_000_000  # for an address
MAX_ANSWERS = 5_000  # more are no room's, and take long to draw
HEADING = 40  # characters; an answer has fewer
NO_ANSWER = re.compile(r"carimbo|timestamp|data/hora|e-?mail|^nome\b|^name\b|^score$|pontuação", re.IGNORECASE)
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html)", re.IGNORECASE)
ADVICE = "Is the sheet published as CSV? Else download it as CSV and give the file's name: room='answers.csv'"
FILE = re.compile(r"[^\n;]+\.(csv|tsv|txt)", re.IGNORECASE)


@dataclass(frozen=True)
class Room:
    """What a room predicted: guesses as read, answers that could not be read, and how many were empty.

    remark  how an answer was read that can be read in two ways, or ""
    """

    guesses: list[Guess]
    unread: list[str]
    n_empty: int
    remark: str


def read_room(room: Any, read: Reader) -> Room:
    """The answers of a room; `read` takes one as typed, and gives None where it cannot.

    room  a list; a text such as "4,5; 6; 20", or one answer a line; the name of a CSV file, or its address with https.
          Of a form's columns the one with the most readable answers; `file.csv#part of a heading` names another

    ValueError: a bare number, no such file, an address that gives no CSV, or several columns that may be meant.
    """
    if not isinstance(room, Iterable | Path):
        raise ValueError(f"expected the answers of a room, [4.5, 6] or '4,5; 6', got {cut(repr(room))}")
    place, _, heading = str(room).strip().partition("#")
    if not isinstance(room, str | Path):
        answers = ["" if answer is None else str(answer).strip() for answer in room]
    elif re.match(r"\w+://", place):
        answers = _column(_fetched(place), heading, read)
    elif isinstance(room, Path) or FILE.fullmatch(place):
        answers = _column(_content(Path(place)), heading, read)
    else:
        answers = _pieces(room)
    if len(answers) > MAX_ANSWERS:
        raise ValueError(f"expected the answers of a room, at most {MAX_ANSWERS:,}, got {len(answers):,}")
    found = [(answer, read(answer) if answer else None) for answer in answers]
    unsure = [(answer, guess) for answer, guess in found if THREE_AFTER.fullmatch(answer) and guess is not None]
    return Room(
        [guess for _, guess in found if guess is not None],
        [answer for answer, guess in found if guess is None and answer],
        answers.count(""),
        f"{unsure[0][0]!r} was read as {unsure[0][1]:,g}" if unsure and not isinstance(unsure[0][1], str) else "",
    )


def _pieces(text: str) -> list[str]:
    """The answers of a text: one a line, or between semicolons; in a single line also after a comma or a space."""
    parts = re.split(r";[ \t]*\r?\n|\r?\n|[;\t|]", text.strip("; \t\r\n|"))
    return [piece.strip() for part in parts for piece in _side_by_side(" ".join(part.split()), alone=len(parts) == 1)]


def _side_by_side(part: str, alone: bool) -> list[str]:
    if RANGE.fullmatch(part) or re.fullmatch(r"\d{1,3}(?: \d{3})+(?: \D.*)?", part):  # 10 to 20, 50 257 tokens
        return [part]
    grouped = re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", part)
    if part.count(",") > 1 and re.fullmatch(r"[\d.,]+", part) and not grouped:  # 4.5,6,20
        return part.split(",")
    found = [piece for cut in re.split(r",\s+", part) for piece in re.split(rf"\s+(?={NUMBER}(?:\s|$))", cut)]
    if all(re.match(NUMBER, piece) for piece in found):
        return found
    if re.fullmatch(r"([a-h]\s+)+[a-h]", part, re.IGNORECASE):
        return part.split()
    return re.split(r",\s+", part) if alone else [part]


def _content(path: Path) -> bytes:
    with suppress(OSError):  # of a name that is too long, say
        if path.is_file():  # no pipe, which may never end
            return path.read_bytes()
    raise ValueError(
        f"expected the name of a CSV file, got {cut(repr(str(path)))}, which is not here. Answers may be pasted"
    )


def _fetched(address: str) -> bytes:
    """What an address gives: the only network that a prediction takes, and only when it is asked for."""
    if address.partition("://")[0].lower() not in SCHEMES:
        raise ValueError(f"expected an address that begins with https://, got {address!r}")
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            content = answer.read(MAX_BYTES + 1)
    except OSError as error:  # urllib's errors are such
        raise ValueError(f"{address} could not be read: {getattr(error, 'reason', error)}. {ADVICE}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{address}: more than {MAX_BYTES:,} bytes. {ADVICE}")
    return content


def _column(content: bytes, heading: str, read: Reader) -> list[str]:
    """The answers of a form's export, of the column that is meant, without its heading."""
    if PAGE.match(content):
        raise ValueError(f"expected a CSV file, got a page. {ADVICE}")
    rows = _rows(content)
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    columns = [column for column in columns if not NO_ANSWER.search(column[0])] or columns
    named = [column for column in columns if heading.strip().lower() in column[0].lower()]
    n_read = [sum(read(answer) is not None for answer in column[1:] if answer) for column in named]
    most = max(n_read, default=0)
    best = [column for column, n in zip(named, n_read, strict=True) if n == most]
    if len(best) != 1:
        names = cut(", ".join(repr(column[0]) for column in best or columns))
        raise ValueError(f"which column has the answers, {names}? Name a part of its heading: room='file.csv#heading'")
    first = best[0][0]
    a_heading = "?" in first or len(first) > HEADING or read(first) is None
    return best[0][1:] if a_heading else best[0]


def _rows(content: bytes) -> list[list[str]]:
    """Equally long rows of a CSV file, whatever its mark; where a comma only begins decimals, a row is one cell."""
    in_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode text"
    try:
        text = content.decode("utf-16" if in_utf_16 else "utf-8-sig").strip()
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace").strip()  # of an older spreadsheet
    text = "\n".join(text.splitlines())  # also those of an old Mac
    first = text.partition("\n")[0]
    mark = next((mark for mark in ";\t," if mark in first), None)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=mark)) if mark else []
    except csv.Error:  # a quote that is never closed
        rows = []
    decimals = mark == "," and re.fullmatch(r"\d+,\d+\s*", first)
    if not rows or decimals or len({len(row) for row in rows}) > 1:
        return [[line.strip('" ')] for line in text.split("\n")]
    return rows
