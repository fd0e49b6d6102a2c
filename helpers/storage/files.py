"""A file or a folder that appears under its name whole or not at all: written aside, flushed to the disk, renamed.

What is relied on: renaming within one drive is one step, as on every local disk. One process at a time writes a name.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from helpers.storage.errors import CheckpointError, Damaged, storage

UNFINISHED, REPLACED = ".unfinished", ".replaced"
MAX_JSON_BYTES = 1 << 22  # what is read of it takes twenty times as much, if it is all brackets
MAX_HEADER_BYTES = 1 << 21  # of safetensors: some ten thousand tensors


def as_path(path: str | Path) -> Path:
    """ValueError: no path, such as None, or an empty one, which would be the folder that one is in."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ValueError(f"expected the path of a file or a folder, got {path!r:.60}")
    return Path(path)


@contextmanager
def write_aside(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write into; when the block ends it stands under `path`, in place of what stood there.

    with write_aside("run/plan.json") as file:
        file.write(json.dumps(plan).encode())

    It is written as `.NAME.unfinished`; a leftover of that name, from a kill, is removed first. If the block or the
    disk fails, nothing half-written remains and the old file is as it was. The parent folder must exist.
    StorageError (an OSError): what failed, in which folder, and the way out.
    """
    path = as_path(path)
    with _aside(path) as aside:
        with open(aside, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)


@contextmanager
def folder_aside(path: str | Path) -> Iterator[Path]:
    """An empty folder to write files into; when the block ends it stands under `path`, all files flushed.

    A folder that stands there is kept as `.NAME.replaced` until the new one has the name (`former` finds it after a
    kill, and `settle` puts things right). Then files that the new one lacks, a user's notes for one, are moved over,
    and it goes. Leftovers and errors as for `write_aside`.
    """
    path = Path(path)
    replaced = former(path)
    with _aside(path) as aside:
        aside.mkdir()
        yield aside
        for file in (*aside.iterdir(), aside):
            sync(file)
        if path.is_dir():
            os.rename(path, replaced)
        try:
            os.rename(aside, path)
        except BaseException:
            if replaced.is_dir():
                os.rename(replaced, path)
            raise
    with storage(f"{path.name} is safe, but removing the former one", path.parent):
        _retire(replaced, path)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Where to write what the block renames to `path`; nothing is left there if the block fails."""
    aside = unfinished(path)
    with storage(f"writing {path.name}", path.parent):
        remove(aside)
        try:
            yield aside
        except BaseException:
            with suppress(OSError):  # the error on its way says more
                remove(aside)
            raise
        sync(path.parent)


def settle(final: Path, check: Callable[[Path], object]) -> None:
    """After a kill: what was moved aside for `final` goes if that is whole, and comes back where it is damaged or gone.

    check  of a folder, raises Damaged; after another CheckpointError nobody can say, and both stay as they are
    """
    replaced = former(final)
    if not replaced.is_dir():
        return
    try:
        if os.path.lexists(final):
            check(final)
            _retire(replaced, final)
            return
    except Damaged:
        _move_missing(final, replaced)
        os.rename(final, unfinished(final))  # one step: a kill leaves no half of it under its name
    except CheckpointError:
        return
    os.rename(replaced, final)
    remove(unfinished(final))


def _retire(old: Path, new: Path) -> None:
    """Remove a folder, if it is there, once what `new` lacks of its files has been moved there."""
    _move_missing(old, new)
    remove(old)


def former(path: str | Path) -> Path:
    """Where `folder_aside` keeps what stood at `path` until its successor is there."""
    return Path(path).with_name(f".{Path(path).name}{REPLACED}")


def unfinished(path: Path) -> Path:
    """Where what will stand at `path` is written; what lies there is nobody's."""
    return path.with_name(f".{path.name}{UNFINISHED}")


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file. OSError: a full disk and the like, for which the library has an error of its own."""
    try:
        safetensors.torch.save_file(tensors, path, metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(number and int(number[1]), str(error)) from error


def sha256(path: str | Path) -> str:
    """The sum of a file, read piece by piece."""
    with open(as_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path, at_most: int = MAX_JSON_BYTES) -> Any:
    """What a JSON file says, read as `from_json` does. ValueError: also where it has more than `at_most` bytes."""
    path = as_path(path)
    with open(path, "rb") as file:
        raw = file.read(at_most + 1)
    if len(raw) > at_most:
        raise ValueError(f"{path}: expected at most {at_most:,} bytes of JSON, got {path.stat().st_size:,}")
    try:
        return from_json(raw)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def from_json(raw: bytes) -> Any:
    """JSON read strictly, after the mark that Windows puts at a file's start, if it is there.

    ValueError: no JSON or no UTF-8, nested too deep, a key twice, a number that is not finite.
    """
    try:
        hooks = dict(parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique_keys)
        return json.loads(raw.decode("utf-8-sig"), **hooks)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not JSON compliant, or too large")
    return value


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def require_short_header(path: Path) -> None:
    """ValueError: a safetensors file says that its header is long, and reading one takes thirty times its size."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"{path.name} speaks of a header of {length:,} bytes, expected {MAX_HEADER_BYTES:,} at most")


def remove(path: Path) -> None:
    """Delete a file, or a folder and what is in it, if it is there; of a link, the link and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _move_missing(old: Path, new: Path) -> None:
    for stray in sorted(old.iterdir()) if old.is_dir() and not old.is_symlink() else ():
        if not os.path.lexists(new / stray.name):
            os.rename(stray, new / stray.name)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of names.

    Some network drives answer EINVAL for a folder: they cannot, and what was written is as safe as it gets there.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_folder or error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
