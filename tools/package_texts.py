"""Texts out of files that packages ship: R's lazy-load databases of character vectors, and PHP's nowdocs."""

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

_STRINGS, _SYMBOL = 16, 1  # R's types; the lower eight bits of a value's flags
_LATIN1 = 4 << 12  # a bit of a string's flags


def read_r_strings(base: Path, name: str) -> str:
    """The lines of one character vector in the lazy-load database `base`.rdx (index) and `base`.rdb, joined.

    ValueError: a file is missing or laid out differently, or the variable is not there or no vector of strings.
    Source: R Internals, section 1.8 (serialization formats).
    """
    try:
        places = _places(_inflated(_bytes(base.with_suffix(".rdx"))))
        if name not in places:
            raise ValueError(f"{base}.rdx: expected a variable {name!r}, got {', '.join(places)}")
        start, length = places[name]
        chunk = _bytes(base.with_suffix(".rdb"))[start : start + length]
        return "\n".join(_strings(_inflated(chunk[4:])))  # the first four bytes are the size after inflating
    except (zlib.error, struct.error) as error:
        raise ValueError(f"{base}.rdx and .rdb are damaged, or laid out differently: {error!r}") from error


def _inflated(data: bytes) -> BytesIO:
    """A serialised value, version 2 or 3 in XDR, from behind its header; compressed by zlib (.rdb) or gzip (.rdx)."""
    file = BytesIO(zlib.decompress(data, wbits=47))
    if file.read(2) != b"X\n" or (version := _integers(file, 3)[0]) not in (2, 3):
        raise ValueError(f"expected R's XDR serialisation, version 2 or 3, got {file.getvalue()[:8]!r}")
    if version == 3:
        file.read(_integers(file, 1)[0])  # the name of the writer's encoding
    return file


def _places(index: BytesIO) -> dict[str, tuple[int, int]]:
    """Start and length of each variable: the index is a list whose first item is a list of pairs, with their names."""
    _integers(index, 2)
    _, n = _integers(index, 2)
    places = [_integers(index, 4)[2:] for _ in range(n)]  # behind its flags and its length
    _, symbol = _integers(index, 2)
    if symbol & 255 == _SYMBOL:  # written out, "names"; the next time R refers to it
        index.read(_integers(index, 2)[1])
    return dict(zip(_strings(index), places, strict=True))


def _strings(file: BytesIO) -> list[str]:
    flags, n = _integers(file, 2)
    if flags & 255 != _STRINGS:
        raise ValueError(f"expected a vector of strings in the R data, got R's type {flags & 255}")
    found = []
    for _ in range(n):
        flags, n_bytes = _integers(file, 2)
        data = file.read(n_bytes)
        if len(data) != n_bytes:
            raise ValueError(f"R data is cut short: expected a string of {n_bytes} bytes, got {len(data)}")
        found.append(data.decode("latin-1" if flags & _LATIN1 else "utf-8"))
    return found


def _integers(file: BytesIO, n: int) -> tuple[int, ...]:
    return struct.unpack(f">{n}i", file.read(4 * n))


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
