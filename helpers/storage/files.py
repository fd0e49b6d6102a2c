"""A file or a folder that appears under its name whole or not at all: written aside, flushed to the disk, renamed.

What is relied on: renaming within one drive is one step, as on every local disk. One process at a time writes a name.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from helpers.storage.errors import storage

UNFINISHED, REPLACED = ".unfinished", ".replaced"
MAX_HEADER_BYTES = 1 << 21  # of safetensors: some ten thousand tensors


@contextmanager
def write_aside(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write into; when the block ends it stands under `path`, in place of what stood there.

    with write_aside("run/plan.json") as file:
        file.write(json.dumps(plan).encode())

    It is written as `.NAME.unfinished`; a leftover of that name, from a kill, is removed first. If the block or the
    disk fails, nothing half-written remains and the old file is as it was. The parent folder must exist.
    StorageError (an OSError): what failed, in which folder, and the way out.
    """
    path = Path(path)
    aside = _beside(path, UNFINISHED)
    with storage(f"writing {path.name}", path.parent):
        aside.unlink(missing_ok=True)
        try:
            with open(aside, "x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with suppress(OSError):  # the error on its way says more
                aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def folder_aside(path: str | Path) -> Iterator[Path]:
    """An empty folder to write files into; when the block ends it stands under `path`, all files flushed.

    A folder that stands there is kept as `.NAME.replaced` until the new one has the name (`former` finds it after a
    kill). Then files that the new one lacks, a user's notes for one, are moved over, and it goes. Leftovers and errors
    as for `write_aside`; but where `.NAME.replaced` is there, `path` did not become whole, and goes in its place.
    """
    path = Path(path)
    aside, replaced = _beside(path, UNFINISHED), former(path)
    with storage(f"writing {path.name}", path.parent):
        remove_folder(aside)
        aside.mkdir()
        try:
            yield aside
            for file in aside.iterdir():
                _sync(file)
            sync_folder(aside)
            if path.is_dir():
                retire(path, replaced) if replaced.is_dir() else os.rename(path, replaced)
            try:
                os.rename(aside, path)
            except BaseException:
                if replaced.is_dir():
                    os.rename(replaced, path)
                raise
        except BaseException:
            with suppress(OSError):
                remove_folder(aside)
            raise
        sync_folder(path.parent)
        retire(replaced, path)


def retire(old: Path, new: Path) -> None:
    """Remove a folder, if it is there, once what `new` lacks of its files has been moved there."""
    for stray in sorted(old.iterdir()) if old.is_dir() and not old.is_symlink() else ():
        if not os.path.lexists(new / stray.name):
            os.rename(stray, new / stray.name)
    remove_folder(old)


def former(path: str | Path) -> Path:
    """Where `folder_aside` keeps what stood at `path` until its successor is there."""
    return _beside(Path(path), REPLACED)


def require_short_header(path: Path) -> None:
    """ValueError: a safetensors file says that its header is long, and reading one takes thirty times its size."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"{path.name} speaks of a header of {length:,} bytes, expected {MAX_HEADER_BYTES:,} at most")


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's list of names.

    Some network drives answer EINVAL, which means that they cannot; what was written is then as safe as it gets there.
    """
    if os.name == "nt":
        return  # Windows opens no folders
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def remove_folder(folder: Path) -> None:
    """Delete a folder and what is in it, if it is there; a link in its place goes, and not what it leads to."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}{suffix}")


def _sync(path: Path, flags: int = os.O_RDWR) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
