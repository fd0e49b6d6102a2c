"""tools/corpus.py on invented packages: R data written byte by byte, a PHP file, a .deb that dpkg-deb packs here."""

import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import zlib

import pytest

from helpers.gpt import gpt2
from helpers.labs import pretrained
from tests.support import refused
from tools import corpus
from tools.package_texts import read_php_nowdoc, read_r_strings

HEADER = b"X\n" + struct.pack(">iii", 3, 0x040201, 0x030500) + struct.pack(">i", 5) + b"UTF-8"


def chars(text: str, flags: int = 0x8009, encoding: str = "utf-8") -> bytes:
    data = text.encode(encoding)
    return struct.pack(">Ii", flags, len(data)) + data


def strings(*texts: str) -> bytes:
    return struct.pack(">Ii", 16, len(texts)) + b"".join(map(chars, texts))


def integers(*values: int) -> bytes:
    return struct.pack(f">Ii{len(values)}i", 13, len(values), *values)


def named_list(first: bool, **items: bytes) -> bytes:
    """An R list with names; the symbol of these is written out first and referred to later."""
    symbol = struct.pack(">I", 1) + chars("names") if first else struct.pack(">I", 1 << 8 | 255)
    tag = struct.pack(">I", 0x402) + symbol + strings(*items) + struct.pack(">I", 254)
    return struct.pack(">Ii", 0x213, len(items)) + b"".join(items.values()) + tag


def write_database(base, **vectors: bytes) -> None:
    """`base`.rdx and `base`.rdb as R's lazy loading has them, of serialised vectors without their header."""
    chunks, places, start = [], {}, 0
    for name, vector in vectors.items():
        data = HEADER + vector
        chunks.append(struct.pack(">i", len(data)) + zlib.compress(data))
        places[name] = integers(start, len(chunks[-1]))
        start += len(chunks[-1])
    compressed = struct.pack(">Iii", 10, 1, 1)
    index = HEADER + named_list(False, variables=named_list(True, **places), compressed=compressed)
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".rdx").write_bytes(gzip.compress(index))
    base.with_suffix(".rdb").write_bytes(b"".join(chunks))


def novel(n_chapters: int, word: str = "wind") -> str:
    parts = [f"CHAPTER {i}\n\nThe {word} blew\n{i} times.\n\nThen   it _stopped_.\n" for i in range(1, n_chapters + 1)]
    return "A TITLE\n\nby Nobody\n\n\n" + "\n\n\n".join(parts) + "\nTHE END\n"


def write_php(path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<?php\nclass Text\n{{\n    static $t = <<<'EOT'\n{text}\nEOT;\n}}\n", encoding="utf-8")


BOOKS = (
    corpus.Book("breeze", "Breeze", "Nobody", 7, "r-invented", "lib/Rdata"),
    corpus.Book("gale", "Gale", "Nobody", 17, "php-invented", "php/Text.php"),
)
FACTS = {name: {"package": name, "version": "1-1"} for name in ("r-invented", "php-invented")}


@pytest.fixture
def unpacked(tmp_path):
    write_database(tmp_path / "lib" / "Rdata", other=strings("no"), breeze=strings(*novel(7, "breeze").split("\n")))
    write_php(tmp_path / "php" / "Text.php", novel(17, "gale"))
    return tmp_path


def test_strings_of_r_and_php_by_hand(tmp_path):
    named = struct.pack(">Ii", 0x210, 1) + chars("caf\xe9", 0x4009, "latin-1") + b"its names"
    write_database(tmp_path / "Rdata", a=strings("one", "", "£2"), b=strings("three"), named=named)
    for name, text in (("a", "one\n\n£2"), ("b", "three"), ("named", "café")):
        assert read_r_strings(tmp_path / "Rdata", name) == text
    write_php(tmp_path / "Text.php", "Oh dear!\n\n$notAVariable 'quoted'")
    assert read_php_nowdoc(tmp_path / "Text.php") == "Oh dear!\n\n$notAVariable 'quoted'"
    (tmp_path / "Text.php").write_text("<?php echo 1;")
    refused("one nowdoc", read_php_nowdoc, tmp_path / "Text.php")


def test_r_errors(tmp_path):
    base = tmp_path / "Rdata"
    refused("expected a file", read_r_strings, base, "a")
    missing = struct.pack(">IiIi", 16, 1, 9, -1)
    write_database(base, numbers=integers(3, 5), missing=missing, closure=struct.pack(">I", 3), short=strings("x")[:-1])
    for name, says in (
        ("absent", "variable 'absent'"),
        ("numbers", "vector of strings in the R data, got R's type 13"),
        ("missing", "cut short"),
        ("closure", "damaged, or laid out differently"),
        ("short", "cut short"),
    ):
        refused(says, read_r_strings, base, name)
    for index, says in (
        (b"", "damaged, or laid out differently"),
        (zlib.compress(HEADER + struct.pack(">Ii", 0x213, 3)), "damaged, or laid out differently"),
        (zlib.compress(b"A\n" + HEADER[2:]), "XDR serialisation, version 2 or 3"),
        (zlib.compress(b"X\n" + struct.pack(">iii", 4, 0, 0)), "XDR serialisation, version 2 or 3"),
    ):
        base.with_suffix(".rdx").write_bytes(index)
        refused(says, read_r_strings, base, "a")


def test_paragraphs_and_chapters_by_hand():
    for raw, clean in (
        ("a line\nwrapped  twice\r\nhere\n\n\n \nnext", ["a line wrapped twice here", "next"]),
        ("“It’s _so_”—he", ['"It\'s so"--he']),
        ("     I have the\n     honour to be", ["I have the honour to be"]),
        ("Story.\n\n*** END OF THIS EBOOK ***\n\nLicence", ["Story."]),
        ("Story.\n\nEnd of Project Gutenberg's Story\n\nLicence", ["Story."]),
        ("  [later editions continued as follows\n  When dry,\n  He is gay.]", ["When dry,\nHe is gay."]),
    ):
        assert corpus.paragraphs(raw) == clean
    text = (
        "TITLE\n\nVOLUME I\n\nCHAPTER I\n\nOne.\n\n* * *\n\nTwo.\n\n  [End volume one\n  Printers]\n\n"
        "VOLUME II\n\nChapter 2. A\nLong Name.\n\nIn CHAPTER 9 of it.\n\nEpilogue\n\nLast.\n\nFINIS\n"
    )
    second = "Chapter 2. A Long Name.\n\nIn CHAPTER 9 of it."
    assert corpus.chapters(text, 3) == ["CHAPTER I\n\nOne.\n\nTwo.", second, "Epilogue\n\nLast."]
    refused("expected 4 chapters, found 3", corpus.chapters, text, 4)


def test_write_splits_whole_chapters(unpacked, tmp_path):
    out = tmp_path / "out"
    report = corpus.write(BOOKS, FACTS, unpacked, out)
    assert json.loads((out / "corpus.json").read_text()) == report
    breeze = (out / "validation" / "breeze.txt").read_text()
    assert breeze == "CHAPTER 5\n\nThe breeze blew 5 times.\n\nThen it stopped.\n"
    for book, row in zip(BOOKS, report["books"], strict=True):
        parts = {s: (out / s / f"{book.name}.txt").read_text() for s in corpus.SPLITS}
        documents = {s: text.removesuffix("\n").split(corpus.SEPARATOR) for s, text in parts.items()}
        assert not set(documents["train"]) & set(documents["validation"])
        expected = {f"CHAPTER {i}" for i in range(1, book.n_chapters + 1)}
        assert {d.split("\n")[0] for part in documents.values() for d in part} == expected
        for split, text in parts.items():
            assert row[split]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
            assert row[split]["documents"] == len(documents[split])
            assert row[split]["gpt2_tokens"] == sum(len(gpt2().encode(d)) for d in documents[split])
    assert report["books"][1]["held_out_chapters"] == [5, 17] and corpus.held_out(31) == [5, 17, 29]
    assert report["totals"]["validation"]["documents"] == 3
    corpus.write(BOOKS, FACTS, unpacked, tmp_path / "again")
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert len(files) == 5 and all((out / p).read_bytes() == (tmp_path / "again" / p).read_bytes() for p in files)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")
def test_unpack(tmp_path):
    tree = tmp_path / "tree"
    write_php(tree / "php" / "Text.php", "text")
    (tree / "DEBIAN").mkdir()
    control = ("Package: php-invented", "Version: 2-1", "Architecture: all", "Maintainer: N <n@example.org>")
    (tree / "DEBIAN" / "control").write_text("\n".join((*control, "Description: none\n")))
    deb = tmp_path / "php-invented_2-1_all.deb"
    package = {"php-invented": "MIT"}
    refused("expected one php-invented", corpus.unpack, package, tmp_path, tmp_path / "to")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
    facts = corpus.unpack(package, tmp_path, tmp_path / "to")["php-invented"]
    assert facts["version"] == "2-1" and facts["sha256"] == hashlib.sha256(deb.read_bytes()).hexdigest()
    assert read_php_nowdoc(tmp_path / "to" / "php" / "Text.php") == "text"
    deb.write_bytes(b"no archive")
    refused("to succeed, got", corpus.unpack, package, tmp_path, tmp_path / "to")


def test_texts_that_the_model_has_not_read_and_programs_that_are_missing(tmp_path, monkeypatch, capsys):
    published = json.loads((pretrained.FOLDER / "corpus.json").read_text(encoding="utf-8"))
    assert corpus.differing(published) == []
    published["books"][6]["train"]["sha256"] = "another"
    assert corpus.differing(published) == ["Moby-Dick"]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert corpus.make(tmp_path / "out") == 1
    assert "expected the program apt-get, found none" in capsys.readouterr().err
