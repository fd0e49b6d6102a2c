"""Single files: written with their checksum and flushed to the disk, read as what they are or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from helpers.storage.checkpoint._errors import Damaged, Foreign

BLOCK_BYTES = 1 << 20
_HEADS = (
    (b"\x80", "a pickle"),  # the opcode PROTO, with which every pickle since protocol 2 begins
    (b"PK\x03\x04", "a zip archive, as torch.save and numpy.savez write it, with pickles inside"),
    (b"\x93NUMPY", "a numpy array, which may hold pickles"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
)
_OLD_PICKLE = re.compile(rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")  # protocol 0: the opcode GLOBAL with its two names


def write_file(path: Path, blocks: Iterable[bytes | memoryview]) -> str:
    """Write a new file and wait until the disk has it. Returns its SHA-256 in hex. OSError: as it comes."""
    digest = hashlib.sha256()
    with open(path, "xb") as file:
        for block in blocks:
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's list of names.

    Some network drives answer EINVAL, which means that they cannot; what was written is then as safe as it gets there.
    """
    if os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def looks_like(path: Path) -> str | None:
    """What a file is by its first bytes, if opening it with the tool it was made for could run code; else None."""
    with open(path, "rb") as file:
        head = file.read(128)
    # a safetensors file begins with the length of its header, which may happen to be 0x80
    if head[4:8] == bytes(4) and head[8:9] == b"{":
        return None
    if _OLD_PICKLE.match(head):
        return "a pickle"
    return next((name for start, name in _HEADS if head.startswith(start)), None)


def require_regular(path: Path) -> int:
    """Size in bytes of a file that is a file: a link could lead anywhere, a pipe could wait forever.

    Damaged: missing, a link, a folder or a device. Foreign: it begins like a pickle.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing: the writing or copying of {path.parent} did not end") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a file"
        raise Damaged(f"{path.name} is {kind}: expected a plain file inside {path.parent}")
    kind = looks_like(path)
    if kind is not None:
        raise Foreign(f"{path} begins like {kind}: opening it could run code, so that it was not opened")
    return status.st_size


class SummedReader:
    """A file read once, from the front, with its SHA-256 kept on the way; a context manager.

    Damaged: it ends early.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.size = require_regular(path)
        self._digest = hashlib.sha256()
        self._file = open(path, "rb")  # noqa: SIM115, closed by __exit__

    def __enter__(self) -> SummedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fill(self, block: memoryview) -> None:
        """Read exactly as many bytes as `block` has room for."""
        n_read = self._file.readinto(block)
        if n_read != len(block):
            raise Damaged(f"{self.name} is truncated: it ended {len(block) - n_read} bytes early")
        self._digest.update(block)

    def take(self, n_bytes: int) -> bytes:
        """The next `n_bytes`."""
        block = bytearray(n_bytes)
        self.fill(memoryview(block))
        return bytes(block)

    def check(self, expected: str) -> None:
        """Compare with the file's line in SHA256SUMS, once all of it has been read."""
        if self._digest.hexdigest() != expected:
            got = self._digest.hexdigest()
            raise Damaged(
                f"{self.name} is not the file that was saved: expected sha256 {expected[:12]}…, got {got[:12]}…"
            )
