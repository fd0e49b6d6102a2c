"""Catalogues: what of each source is said, kept in step with it, filled and read. One `.po` a file of the course."""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import polib

from tools.notebooks import (
    BADGE_ID,
    COLAB,
    LANGUAGE_LINK,
    PORTUGUESE,
    ROOT,
    SETUP_ID,
    lecture_notes,
    numbered,
    write_whole,
)
from tools.translate import messages, prose
from tools.translate.literals import literals

FOLDER = ROOT / "i18n" / PORTUGUESE.language
STAMPED = (BADGE_ID, SETUP_ID)  # cells that `make stamp` writes
EVERYWHERE = "*"  # the context of a word that the program may read too: one entry for the notebook
ALIKE = 0.6  # from here on a text is taken for a reworded one, whose translation is worth mending
KEEP = "KEEP"  # as a translation: English stays, and somebody has decided so


class Entry(NamedTuple):
    """A text to translate: where it stands (a cell's id), what it is ("prose", "text", "word", ...), and itself."""

    context: str | None
    kind: str
    text: str


def names() -> list[str]:
    """Everything that is translated, by the path of its source without the suffix."""
    files = [*numbered(ROOT / "notebooks"), *lecture_notes(ROOT), ROOT / "README.md"]
    return [str(file.relative_to(ROOT).with_suffix("")) for file in files] + ["helpers"]


def unfinished() -> list[str]:
    """What the other edition does not have yet; its catalogue may have gaps. An empty list when all is done."""
    return (FOLDER / "unfinished.txt").read_text(encoding="utf-8").split()


def find(beginning: str) -> str:
    """The first name that begins so, also without its folder: "02" is notebooks/02_…"""
    found = [name for name in names() if name.startswith(beginning) or name.split("/")[-1].startswith(beginning)]
    if not found:
        raise ValueError(f"nothing to translate is called {beginning!r}; there are {', '.join(names())}")
    return found[0]


def source(name: str) -> Path:
    """The English file of a notebook or page."""
    return ROOT / f"{name}.{'ipynb' if name.startswith('notebooks/') else 'md'}"


def po_file(name: str) -> Path:
    return FOLDER / f"{name}.po"


def entries(name: str) -> list[Entry]:
    """What of a source is translated, in order, each once."""
    if name == "helpers":
        found = [Entry(None, "message", text) for text in messages.messages()]
    elif source(name).suffix == ".md":
        text = LANGUAGE_LINK.sub("", source(name).read_text(encoding="utf-8"))
        found = [Entry(None, "prose", piece) for piece in prose.entries(text) if COLAB not in piece]
    else:
        found = []
        for cell in (cell for cell in nbformat.read(source(name), 4).cells if cell["id"] not in STAMPED):
            if cell.cell_type == "markdown":
                found += [Entry(cell["id"], "prose", text) for text in prose.entries(cell.source)]
            else:
                said = [literal for literal in literals(cell.source) if literal.has_words]
                found += [Entry(EVERYWHERE if x.kind == "word" else cell["id"], x.kind, x.text) for x in said]
    return list({(entry.context, entry.text): entry for entry in found}.values())


def load(name: str) -> polib.POFile:
    """A source's catalogue; an empty one if it has none yet."""
    return polib.pofile(str(po_file(name)), wrapwidth=0) if po_file(name).exists() else polib.POFile(wrapwidth=0)


def update(name: str) -> Counter:
    """Bring a catalogue in step with its source: new texts in, gone ones out, reworded ones fuzzy."""
    old = {(entry.msgctxt, entry.msgid): entry for entry in load(name)}
    current = {(entry.context, entry.text): entry for entry in entries(name)}
    gone = [entry for key, entry in old.items() if key not in current and entry.msgstr]
    count: Counter = Counter(gone=sum(key not in current for key in old))
    catalogue = polib.POFile(wrapwidth=0)
    catalogue.metadata = {"Language": PORTUGUESE.language, "Content-Type": "text/plain; charset=UTF-8"}
    catalogue.metadata["Content-Transfer-Encoding"] = "8bit"
    for key, wanted in current.items():
        count["kept" if key in old else "new"] += 1
        entry = old.get(key) or _new_entry(wanted, gone)
        entry.comment = wanted.kind
        count["to do"] += is_open(entry)
        catalogue.append(entry)
    po_file(name).parent.mkdir(parents=True, exist_ok=True)
    write_whole(po_file(name), str(catalogue))
    return count


def _new_entry(wanted: Entry, gone: list[polib.POEntry]) -> polib.POEntry:
    """An entry without translation, or with that of a text that has moved here or was reworded."""
    entry = polib.POEntry(msgctxt=wanted.context, msgid=wanted.text)
    moved = next((other for other in gone if other.msgid == wanted.text), None)
    if moved is not None:
        entry.msgstr, entry.flags, entry.tcomment = moved.msgstr, moved.flags, moved.tcomment
        return entry
    near = {e.msgid: e for e in gone if (e.msgctxt, e.comment) == (wanted.context, wanted.kind)}
    for text in difflib.get_close_matches(wanted.text, near, 1, ALIKE):
        best = near[text]
        entry.msgstr, entry.previous_msgid, entry.flags = best.msgstr, best.msgid, ["fuzzy"]
    return entry


def is_open(entry: polib.POEntry) -> bool:
    """Whether somebody still has to translate it or to look at it again."""
    return not entry.msgstr or entry.fuzzy


def identity(entry: polib.POEntry) -> str:
    """A short name of an entry that stays as long as its English does."""
    return hashlib.sha256(f"{entry.msgctxt}\0{entry.msgid}".encode()).hexdigest()[:8]


def todo(name: str) -> str:
    """What is still open, each text once, as JSON: an entry's identity, where it stands, what it is, its English."""
    shown, seen = {}, set()
    for entry in filter(is_open, load(name)):
        if (entry.comment, entry.msgid) not in seen:
            seen.add((entry.comment, entry.msgid))
            said = {"where": entry.msgctxt, "kind": entry.comment, "english": entry.msgid}
            before = {"english before": entry.previous_msgid, "translation before": entry.msgstr}
            shown[identity(entry)] = said | (before if entry.fuzzy else {})
    return json.dumps(shown, ensure_ascii=False, indent=1)


def put(name: str, translations: dict[str, str]) -> int:
    """Write translations, by the identity of their entry, into the catalogue; returns how many entries got one.

    Open entries with the same text get the same one. "KEEP" leaves the English.
    ValueError: an identity that the catalogue does not have.
    """
    catalogue = load(name)
    known = {identity(entry): entry for entry in catalogue}
    unknown = sorted(set(translations) - set(known))
    if unknown:
        raise ValueError(f"{name} has no entry {', '.join(unknown)}: `update`, then `todo` lists what it has")
    n_written = 0
    for key, text in translations.items():
        first = known[key]
        alike = [e for e in catalogue if is_open(e) and (e.comment, e.msgid) == (first.comment, first.msgid)]
        for entry in {id(e): e for e in [first, *alike]}.values():
            entry.msgstr, entry.tcomment = (entry.msgid, "keep") if text == KEEP else (text, "")
            entry.flags, entry.previous_msgid = [flag for flag in entry.flags if flag != "fuzzy"], None
            n_written += 1
    write_whole(po_file(name), str(catalogue))
    return n_written


def speaker(name: str) -> Callable[[str | None, str], str]:
    """(context, English) -> the translation; English where none is or where it is fuzzy."""
    said = {(entry.msgctxt, entry.msgid): entry.msgstr for entry in load(name) if not is_open(entry)}
    return lambda context, text: said.get((context, text), text)
