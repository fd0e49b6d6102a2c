"""The training text of the course's own model: eight public-domain novels, read from three Debian packages.

train/BOOK.txt and validation/BOOK.txt hold whole chapters, one document each; a line with a form feed stands between
two documents. corpus.json says where each text is from and how large it is.

One convention for all books. Paragraphs are one line with a blank line between; verse keeps its lines; a chapter
heading is a paragraph of its own. Quotes are straight, a dash is `--`, italics lose their underscores, runs of spaces
become one. Dropped: all before the first chapter heading (titles, prefaces, Moby-Dick's Etymology and Extracts), volume
headings, rows of asterisks, editors' marks, closing words such as FINIS, and publishers' notes after the end.
Which quotes open speech is the book's own: double ones, single ones in Alice.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from helpers.gpt import gpt2
from helpers.labs import pretrained
from tools.package_texts import read_php_nowdoc, read_r_strings

SEPARATOR = "\n\f\n"
HOLD_OUT_EVERY, HOLD_OUT_FIRST = 12, 5  # chapters 5, 17, 29, ... of each book
SPLITS = ("train", "validation")


class Book(NamedTuple):
    """One novel: the name of its output file, the package and the file there that hold it, its number of chapters."""

    name: str
    title: str
    author: str
    n_chapters: int
    package: str
    file: str


_AUSTEN = "r-cran-janeaustenr", "usr/lib/R/site-library/janeaustenr/data/Rdata"
_MELVILLE = "r-cran-tokenizers", "usr/lib/R/site-library/tokenizers/data/Rdata"
_CARROLL = "php-faker", "usr/share/php/Faker/Provider/en_US/Text.php"
# fmt: off
PACKAGES = {  # Debian's, with their own licences, which are not the novels'
    "r-cran-janeaustenr": "MIT",
    "r-cran-tokenizers": "MIT",
    "php-faker": "MIT; the file with the novel: Project Gutenberg's, in the package",
}
BOOKS = (
    Book("emma", "Emma", "Jane Austen", 55, *_AUSTEN),
    Book("mansfieldpark", "Mansfield Park", "Jane Austen", 48, *_AUSTEN),
    Book("northangerabbey", "Northanger Abbey", "Jane Austen", 31, *_AUSTEN),
    Book("persuasion", "Persuasion", "Jane Austen", 24, *_AUSTEN),
    Book("prideprejudice", "Pride and Prejudice", "Jane Austen", 61, *_AUSTEN),
    Book("sensesensibility", "Sense and Sensibility", "Jane Austen", 50, *_AUSTEN),
    Book("mobydick", "Moby-Dick", "Herman Melville", 136, *_MELVILLE),  # 135 and the epilogue
    Book("alice", "Alice's Adventures in Wonderland", "Lewis Carroll", 12, *_CARROLL),
)
# fmt: on

_HEADING = re.compile(r"(?:CHAPTER|Chapter) (?:[IVXLC]+|\d+)(?:\.(?: .*)?)?|Epilogue")
_AFTER_THE_END = re.compile(r"^(?:\*\*\* ?END OF|End of (?:the )?Project Gutenberg|A NOTE ON THE TEXT).*", re.M | re.S)
_DROPPED = re.compile(
    r"VOLUME [IVX]+|[* ]+|\[(?:End volume|At this point in the|Illustration).*|FINIS|Finis|THE END", re.S
)
_EDITORS_BRACKET = re.compile(r"[ \t]*\[later editions continued as follows\n([^\]]*)\]")
_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "—": "--", "\ufeff": "", "\r": "", "_": ""})


def paragraphs(text: str) -> list[str]:
    """`text` by the convention in this module's docstring, paragraph by paragraph, marks and headings included."""
    text = _EDITORS_BRACKET.sub(r"\1", _AFTER_THE_END.sub("", text.translate(_STRAIGHT)))
    found = []
    for block in (block for block in re.split(r"\n[ \t]*\n", text) if block.strip()):
        lines = [line for line in block.split("\n") if line.strip()]
        # an indented letter runs on in small letters; each line of a poem begins with a capital
        verse = all(line.startswith("  ") and not line.strip()[0].islower() for line in lines)
        found.append(("\n" if verse else " ").join(" ".join(line.split()) for line in lines))
    return found


def chapters(text: str, n_expected: int) -> list[str]:
    """The chapters of a book, heading first, paragraphs separated by a blank line; what precedes the first is dropped.
    ValueError: not `n_expected` chapters."""
    found: list[list[str]] = []
    for paragraph in paragraphs(text):
        if _HEADING.fullmatch(paragraph):
            found.append([paragraph])
        elif found and not _DROPPED.fullmatch(paragraph):
            found[-1].append(paragraph)
    if len(found) != n_expected:
        raise ValueError(f"expected {n_expected} chapters, found {len(found)}: the text differs from the one known")
    return ["\n\n".join(chapter) for chapter in found]


def held_out(n_chapters: int) -> list[int]:
    """Numbers, from 1, of the chapters that go to validation: 5, 17, 29, ..., so that each book gives some."""
    return list(range(HOLD_OUT_FIRST, n_chapters + 1, HOLD_OUT_EVERY))


def unpack(packages: dict[str, str], folder: Path, target: Path) -> dict[str, dict]:
    """Unpack each package's .deb in `folder` into `target`; name, version, sha256, licence of each come back by name.
    ValueError: no dpkg-deb, or not exactly one .deb of a package."""
    facts = {}
    for name, licence in packages.items():
        files = sorted(folder.glob(f"{name}_*.deb"))
        if len(files) != 1:
            raise ValueError(f"expected one {name}_*.deb in {folder}, found {len(files)}: apt-get download it")
        _run(["dpkg-deb", "-x", str(files[0]), str(target)])
        version = _run(["dpkg-deb", "-f", str(files[0]), "Version"]).strip()
        sha256 = hashlib.sha256(files[0].read_bytes()).hexdigest()
        facts[name] = {"package": name, "version": version, "sha256": sha256, "package_licence": licence}
    return facts


def differing(corpus: dict) -> list[str]:
    """Titles of the books whose texts are not those that the published model read."""
    published = json.loads((pretrained.FOLDER / "corpus.json").read_text(encoding="utf-8"))["books"]
    pairs = zip(corpus["books"], published, strict=True)
    return [new["title"] for new, old in pairs if any(new[split] != old[split] for split in SPLITS)]


def write(books: tuple[Book, ...], facts: dict[str, dict], unpacked: Path, out: Path) -> dict:
    """Write train, validation and corpus.json of `books` under `out`; corpus.json's content comes back."""
    rows = []
    for book in books:
        path = unpacked / book.file
        text = read_php_nowdoc(path) if path.suffix == ".php" else read_r_strings(path, book.name)
        documents = chapters(text, book.n_chapters)
        numbers = held_out(len(documents))
        row = {"name": book.name, "title": book.title, "author": book.author, "text_licence": "public domain"}
        row |= facts[book.package] | {"file": book.file, "chapters": len(documents), "held_out_chapters": numbers}
        for split in SPLITS:
            chosen = [d for i, d in enumerate(documents, 1) if (i in numbers) == (split == "validation")]
            row[split] = _write_split(out / split / f"{book.name}.txt", chosen)
        rows.append(row)
    counts = ("documents", "bytes", "words", "gpt2_tokens")
    totals = {split: {key: sum(row[split][key] for row in rows) for key in counts} for split in SPLITS}
    corpus = {"books": rows, "totals": totals}
    (out / "corpus.json").write_text(json.dumps(corpus, indent=2) + "\n", encoding="utf-8")
    return corpus


def _write_split(path: Path, documents: list[str]) -> dict:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (SEPARATOR.join(documents) + "\n").encode() if documents else b""
    path.write_bytes(data)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "documents": len(documents),
        "bytes": len(data),
        "words": sum(len(d.split()) for d in documents),
        "gpt2_tokens": sum(len(gpt2().encode_ordinary(d)) for d in documents),
    }


def _run(command: list[str], folder: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise ValueError(f"expected the program {command[0]}, found none: run this on Debian or Ubuntu")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"expected `{' '.join(command)}` to succeed, got: {done.stderr.strip() or done.returncode}")
    return done.stdout


def make(out: Path) -> int:
    """Write the texts into `out`, a folder outside the repository; 1 where one lacks or is not what the model read."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder, "unpacked")
        try:
            _run(["apt-get", "download", *PACKAGES], Path(folder))
            corpus = write(BOOKS, unpack(PACKAGES, Path(folder), unpacked), unpacked, out)
        except ValueError as error:
            print(f"corpus: {error}", file=sys.stderr)
            return 1
    if others := differing(corpus):
        told = f"{', '.join(others)}: expected the texts that the published model read, got others"
        print(f"corpus: {told}; they are in {out}, and `make pretrained` goes on with them", file=sys.stderr)
        return 1
    for split, counts in corpus["totals"].items():
        print(f"{split}: " + ", ".join(f"{value:,} {key}" for key, value in counts.items()))
    return 0
