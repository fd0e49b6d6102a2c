"""A folder that is written whole or not at all, and read only after it has been verified.

What is relied on: renaming a folder within one drive is one step, as on every local disk. Where it is not (a mounted
Drive may copy file by file), SHA256SUMS decides: it is written last, and a folder without it, or with files that do not
fit it, is refused. One process at a time writes to a folder.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from helpers.storage.checkpoint._errors import CheckpointError, Damaged, Foreign, Future, storage
from helpers.storage.checkpoint._files import SummedReader, looks_like, require_regular, sync_folder, write_file
from helpers.storage.checkpoint._tensor_file import check_table, read_tensors, tensor_blocks
from helpers.storage.checkpoint._tree import dump_json, load_json

SUMS = "SHA256SUMS"
MAX_SUMS_BYTES = 1 << 16
MAX_JSON_BYTES = 1 << 28
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class Kind:
    """What a folder of ours holds: its format's name and version, its JSON file and its tensor files."""

    format: str
    version: int
    json_name: str
    tensor_files: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        return sorted([self.json_name, *self.tensor_files])


def write_folder(final: Path, kind: Kind, document: dict, tensors: dict[str, dict[str, Tensor]]) -> None:
    """Write under a hidden name beside `final`, flush, rename. What stood at `final` stays until the new one does.

    StorageError: what stands under the final name is whole, in most cases what stood there before.
    """
    temporary = final.with_name(f".{final.name}.writing-{secrets.token_hex(4)}")
    try:
        with storage(f"writing {final.name}", final.parent):
            temporary.mkdir()
            _write_contents(temporary, kind, document, tensors)
            _put_in_place(temporary, final, kind)
    except BaseException:
        with suppress(OSError):  # the error on its way says more; what stays is cleaned by the next save
            discard(temporary, kind)
        raise


def _write_contents(folder: Path, kind: Kind, document: dict, tensors: dict[str, dict[str, Tensor]]) -> None:
    table: list[dict] = []
    sums = {file: write_file(folder / file, tensor_blocks(file, tensors[file], table)) for file in kind.tensor_files}
    whole = {"format": kind.format, "version": kind.version, **document, "tensors": table}
    sums[kind.json_name] = write_file(folder / kind.json_name, [dump_json(whole)])
    write_file(folder / SUMS, [sums_text(sums)])
    sync_folder(folder)


def _put_in_place(temporary: Path, final: Path, kind: Kind) -> None:
    aside = None
    if os.path.lexists(final):
        token = secrets.token_hex(4)
        ours = holds_only_ours(final, kind)
        aside = final.with_name(f".{final.name}.replaced-{token}" if ours else f"{final.name}.kept-{token}")
        os.rename(final, aside)
    try:
        os.rename(temporary, final)
    except OSError:
        if aside is not None:
            os.rename(aside, final)
        raise
    sync_folder(final.parent)
    if aside is not None:
        discard(aside, kind)


def leftovers(parent: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """(path, final name, "writing" or "replaced") of what killed writes left; `name` is a regular expression."""
    pattern = re.compile(rf"\.({name})\.(writing|replaced)-[0-9a-f]{{8}}")
    for entry in sorted(parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match:
            yield entry, match[1], match[2]


def clean(parent: Path, name: str, kind: Kind, check: Callable[[Path], object]) -> None:
    """Remove what killed writes left, and put back what was moved aside for a successor that never came."""
    for entry, final_name, state in list(leftovers(parent, name)):
        final = parent / final_name
        if state == "writing":
            discard(entry, kind)
        elif not os.path.lexists(final):
            os.rename(entry, final)
        else:
            with suppress(CheckpointError):  # the successor is no good: the one aside may be
                check(final)
                discard(entry, kind)


def holds_only_ours(folder: Path, kind: Kind) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return {entry.name for entry in folder.iterdir()} <= {*kind.files, SUMS}


def discard(folder: Path, kind: Kind) -> None:
    """Delete a folder of ours, SHA256SUMS first, so that half of it is never taken for good. Others stay."""
    if not holds_only_ours(folder, kind):
        return
    for file in (SUMS, *kind.files):
        (folder / file).unlink(missing_ok=True)
    folder.rmdir()


def sums_text(sums: dict[str, str]) -> bytes:
    return "".join(f"{sums[file]}  {file}\n" for file in sorted(sums)).encode("ascii")


def read_document(path: Path, kind: Kind) -> tuple[dict, dict[str, str]]:
    """The JSON of a folder and its SHA256SUMS, once they fit each other; tensors are not looked at.

    Damaged, Foreign, Future: see those. StorageError: it cannot be read.
    """
    with storage(f"reading {path.name}", path.parent):
        _require_folder(path, kind)
        sums = _read_sums(path / SUMS)
        if kind.json_name not in sums:
            raise Damaged(f"{SUMS} has no line for {kind.json_name}")
        with SummedReader(path / kind.json_name) as reader:
            if reader.size > MAX_JSON_BYTES:
                raise Damaged(f"{kind.json_name} has {reader.size} bytes: expected at most {MAX_JSON_BYTES}")
            raw = reader.take(reader.size)
            reader.check(sums[kind.json_name])
        document = load_json(raw, kind.json_name)
        _require_kind(document, kind, path)
        if sorted(sums) != kind.files:
            raise Damaged(f"{SUMS}: expected lines for {', '.join(kind.files)}, got {', '.join(sums)}")
        for file in kind.files:
            require_regular(path / file)
    return document, sums


def read_files(
    path: Path, kind: Kind, document: dict, sums: dict[str, str], keep: bool = True
) -> dict[str, dict[str, Tensor]]:
    """Every tensor by file and name, on the CPU, each verified; with keep=False they are verified and let go."""
    rows = check_table(document.get("tensors"), kind.tensor_files, kind.json_name)
    result: dict[str, dict[str, Tensor]] = {}
    with storage(f"reading {path.name}", path.parent):
        for file in kind.tensor_files:
            with SummedReader(path / file) as reader:
                pairs = read_tensors(reader, rows[file])
                result[file] = {name: tensor if keep else None for name, tensor in pairs}
                reader.check(sums[file])
    return result


def _require_folder(path: Path, kind: Kind) -> None:
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else None
    if names is None:
        os.stat(path)  # a path that is not there is a matter of storage
        what = looks_like(path) if path.is_file() else None
        if what:
            raise Foreign(f"{path} begins like {what}: opening it could run code, so that it was not opened")
        raise Foreign(f"{path} is no checkpoint: expected a folder with {', '.join(kind.files)}, got a file")
    if SUMS in names:
        return
    if kind.json_name in names:
        raise Damaged(f"{SUMS} is missing in {path}: the writing or copying did not end")
    pickles = [name for name in names if Path(name).suffix in {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}]
    danger = f"; {', '.join(pickles)} could run code and was not opened" if pickles else ""
    raise Foreign(
        f"{path} is no checkpoint of this course: expected {SUMS}, got {', '.join(names) or 'nothing'}{danger}"
    )


def _require_kind(document: dict, kind: Kind, path: Path) -> None:
    if document.get("format") != kind.format:
        raise Foreign(f"{path}: expected format {kind.format!r}, got {document.get('format')!r}")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise Damaged(f"{path}: expected a version of at least 1, got {version!r}")
    if version > kind.version:
        raise Future(
            f"{path} is of version {version}, and this edition of the course reads up to {kind.version}: "
            "update the course"
        )


def _read_sums(path: Path) -> dict[str, str]:
    size = require_regular(path)
    if size > MAX_SUMS_BYTES:
        raise Damaged(f"{SUMS} has {size} bytes: expected at most {MAX_SUMS_BYTES}")
    raw = path.read_bytes()
    lines = raw.decode("ascii", errors="replace").split("\n")[:-1]
    matches = [_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        wrong = next(line for line, match in zip(lines, matches, strict=True) if not match)
        raise Damaged(f"{SUMS}: expected lines of a sha256, two spaces and a plain file name, got {wrong[:100]!r}")
    sums = {match[2]: match[1] for match in matches}
    if sums_text(sums) != raw:
        raise Damaged(f"{SUMS} is not as it was written: truncated, out of order, or a name stands twice")
    return sums
