"""The folder that checkpoints and models share: safetensors, a JSON file, and SHA256SUMS over them, written last.

Where a rename is not one step (a mounted Drive may copy file by file), SHA256SUMS decides: a folder without it, or with
files that do not fit it, is refused. Files are read, not mapped into memory: where a network drive goes away a read
fails with an error, and a mapped page kills the process.
"""

import hashlib
import json
import os
import platform
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from helpers.storage.errors import CheckpointError, Damaged, Foreign, Future, storage
from helpers.storage.files import MAX_JSON_BYTES, folder_aside, from_json, require_short_header, save_tensors, sha256

COURSE, SUMS, VERSION = "pretraining-a-gpt", "SHA256SUMS", 2
MODEL_FILE = "model.safetensors"
MAX_SUMS_BYTES = 1 << 16
MAX_DIMENSIONS = 64  # of a tensor that torch computes with
LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.directory|\.ipynb_checkpoints")  # of file managers
PICKLES = (b"\x80", b"PK\x03\x04")  # how a pickle begins, and a zip archive of pickles as `torch.save` writes it
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


@dataclass(frozen=True)
class Kind:
    """What a folder of ours holds: the name of its format, its JSON file and its tensor files."""

    format: str
    json_name: str
    tensor_files: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.tensor_files, self.json_name)


def write(path: Path, kind: Kind, raw: bytes, tensors: dict[str, dict[str, Tensor]]) -> None:
    """Write the folder as `folder_aside` does: its JSON file, from `to_json`, and tensors, from `stored_once`."""
    with folder_aside(path) as aside:
        for name in kind.tensor_files:
            save_tensors(aside / name, tensors[name])
        (aside / kind.json_name).write_bytes(raw)
        (aside / SUMS).write_bytes(_sums_text({name: sha256(aside / name) for name in kind.files}))


def read(path: Path, kind: Kind, device: str | torch.device = "cpu") -> tuple[dict, dict[str, dict[str, Tensor]]]:
    """The JSON document of a folder and the tensors of each file, every byte verified.

    device  where the model's tensors go; all others are on the CPU
    return  of the model, a tensor that stood under two names is one tensor under two names again

    Damaged, Foreign, Future: see those; Damaged also where a tensor has NaN. StorageError: it cannot be read.
    """
    document, sums = read_document(path, kind)
    with storage(f"reading {path.name}", path.parent):
        tensors = {name: _tensors(path / name, sums[name]) for name in kind.tensor_files}
    with as_written(path):
        for file, held in tensors.items():
            require_finite(file, held)
        model = {name: tensor.to(device) for name, tensor in tensors[MODEL_FILE].items()}
        shared = {name: model[other] for name, other in document["shared"].items()}
    return document, tensors | {MODEL_FILE: model | shared}


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Damaged: what stands in a folder's files is of another kind than what was written."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Damaged(f"{path} is not as it was written: {error!r:.300}") from error


def read_document(path: Path, kind: Kind) -> tuple[dict, dict[str, str]]:
    """The JSON document and the checksums of a folder, which fit each other; tensors are not looked at."""
    with storage(f"reading {path.name}", path.parent):
        _require_folder(path, kind)
        raw = _read(path / SUMS, at_most=MAX_SUMS_BYTES)
        sums = {name: digest for digest, name in _LINE.findall(raw.decode("utf-8", errors="replace"))}
        as_written = _sums_text(sums) == raw
        if as_written and kind.json_name in sums:
            document = _from_json(path / kind.json_name, sums[kind.json_name])
            _require_edition(path, kind, document)  # before the other names: a later one may have more files
        if not as_written or sorted(sums) != sorted(kind.files):
            raise Damaged(
                f"{SUMS} is not as it was written: expected sha256, two spaces and name for each of "
                f"{', '.join(sorted(kind.files))}, got {raw[:100]!r}"
            )
    return document, sums


def _require_edition(path: Path, kind: Kind, document: dict) -> None:
    if document.get("format") != kind.format:
        raise Foreign(f"{path}: expected format {kind.format!r}, got {document.get('format')!r}")
    version = document.get("version")
    if type(version) is not int or version < VERSION:
        raise Damaged(f"{path}: expected version {VERSION}, got {version!r}: this edition of the course reads no other")
    if version > VERSION:
        raise Future(f"{path} is of version {version}, and this edition reads {VERSION}: update the course")


def stored_once(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors on the CPU, {name: name under which the same tensor is stored}), so that a tied matrix is there once.

    ValueError: what a safetensors file cannot hold.
    """
    stored, shared, seen = {}, {}, {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex():
            what = f"{tensor.dtype}, {tensor.layout}, {tensor.device}" if isinstance(tensor, Tensor) else tensor
            raise ValueError(f"{name}: expected a dense tensor of real numbers with values, got {what}")
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError(f"expected a tensor's name in letters that can be read, got {name!r:.60}")
        if name == "__metadata__":
            raise ValueError("__metadata__ is a name that safetensors keeps for itself: give the tensor another")
        memory = tensor.untyped_storage().data_ptr(), tensor.device
        key = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in seen.get(memory, {}):
            shared[name] = seen[memory][key]
        else:  # two different views of one memory are stored as two tensors
            stored[name] = (tensor.detach().clone() if memory in seen else tensor.detach()).cpu().contiguous()
            seen.setdefault(memory, {})[key] = name
    return stored, shared


def require_finite(file: str, tensors: dict[str, Tensor]) -> None:
    """ValueError: NaN or infinity: no run can go on from there, and no model says anything."""
    for name, tensor in tensors.items():
        if tensor.ndim > MAX_DIMENSIONS:
            raise ValueError(f"{file}: {name} has {tensor.ndim} dimensions, torch computes with {MAX_DIMENSIONS}")
        wide = tensor.float() if tensor.element_size() == 1 else tensor  # torch asks no float8
        if tensor.is_floating_point() and not wide.isfinite().all():
            raise ValueError(f"{file}: NaN or infinity in {name} ({tensor.dtype}): nothing can be computed from it")


def holds_only_ours(folder: Path, kind: Kind) -> bool:
    """Whether a folder has no other files than those that `write` makes, and what a file manager leaves."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(p.name in (*kind.files, SUMS) or LITTER.fullmatch(p.name) for p in folder.iterdir())


def require_replaceable(path: Path, kind: Kind) -> None:
    """Foreign: what stands at `path` is a file, a link, or a folder with somebody else's files under our names."""
    if not os.path.lexists(path):
        return
    theirs = path.is_symlink() or not path.is_dir()
    if not theirs and {*os.listdir(path)} & {*kind.files, SUMS}:
        said = _said(path / kind.json_name)  # where it says nothing, the sums may name it
        theirs = said.get("format") != kind.format if said else kind.json_name.encode() not in _peek(path / SUMS)
    if theirs:
        raise Foreign(f"{path} holds something else than a {kind.format}: choose a folder of its own, or move it away")


def to_json(kind: Kind, document: dict) -> bytes:
    """A document of that kind, with what wrote it: ASCII, a line for each entry, so that a person can look into it.

    ValueError: a value that JSON does not give back as it was, or more than a reader takes.
    """
    lines = []
    head = {"format": kind.format, "version": VERSION, "versions": current_versions()}
    for name, value in (head | document).items():
        try:
            text = json.dumps(value, allow_nan=False)
            if json.loads(text) != value:
                raise ValueError("a tuple or a key that is no str, which would come back as something else")
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{name} cannot be stored as JSON ({error}); of a tensor: .item()") from error
        lines.append(f"{json.dumps(name)}: {text}")
    raw = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
    if len(raw) > MAX_JSON_BYTES:
        raise ValueError(f"expected at most {MAX_JSON_BYTES:,} bytes of JSON, got {len(raw):,}: keep it elsewhere")
    return raw


def current_versions() -> dict[str, str]:
    """Versions of what wrote a folder: of these torch alone decides whether a run repeats."""
    ours = {"torch": str(torch.__version__), "numpy": np.__version__, "safetensors": safetensors.__version__}
    return {"python": platform.python_version()} | ours


def _sums_text(sums: dict[str, str]) -> bytes:
    return "".join(f"{sums[file]}  {file}\n" for file in sorted(sums)).encode()


def _require_folder(path: Path, kind: Kind) -> None:
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(4).startswith(PICKLES):
                raise Foreign(f"{path} begins like a pickle: opening it could run code, so that it was not opened")
        raise Foreign(f"{path} is no checkpoint: expected a folder with {', '.join(kind.files)}, got a file")
    names = sorted(os.listdir(path))
    if SUMS in names:
        return
    said = _said(path / kind.json_name)
    if "model_type" in said:
        raise Foreign(f"{path} is a published model, {said['model_type']}: `weights.load` reads it")
    if kind.json_name in names:
        raise Damaged(f"{SUMS} is missing in {path}: the writing or copying did not end")
    got = ", ".join(names) or "nothing"
    raise Foreign(f"{path} is no checkpoint of this course: expected {SUMS}, got {got}; none of it was opened")


def _peek(path: Path) -> bytes:
    """What stands in an unsigned file; nothing where it cannot be read."""
    with suppress(CheckpointError, OSError):
        return _read(path, at_most=MAX_JSON_BYTES)
    return b""


def _said(path: Path) -> dict:
    """What an unsigned JSON file says of itself; nothing where it is none."""
    with suppress(ValueError):
        said = from_json(_peek(path))
        return said if isinstance(said, dict) else {}
    return {}


def _read(path: Path, at_most: int = -1) -> bytes:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing: the writing or copying of {path.parent} did not end") from None
    if not stat.S_ISREG(mode):  # a link could lead anywhere, a pipe could wait forever
        kind = "a link" if stat.S_ISLNK(mode) else "not a file"
        raise Damaged(f"{path.name} is {kind}: expected a plain file inside {path.parent}")
    with open(path, "rb") as file:
        return file.read(at_most)


def _require_sum(path: Path, expected: str, got: str) -> None:
    if got != expected:
        raise Damaged(f"{path.name} is not the file that was saved: expected sha256 {expected[:12]}…, got {got[:12]}…")


def _tensors(path: Path, digest: str) -> dict[str, Tensor]:
    _read(path, at_most=0)  # a plain file
    _require_sum(path, digest, sha256(path))
    try:
        require_short_header(path)
        return dict(sorted(safetensors.torch.load(path.read_bytes()).items()))  # its order is another in each process
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, AssertionError) as error:
        raise Damaged(f"{path.name} is no safetensors file that can be read: {error}") from error


def _from_json(path: Path, digest: str) -> dict:
    """A JSON object, read strictly. Damaged: not JSON, a key twice, a number that is not finite, or not an object."""
    raw = _read(path, at_most=MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:  # to add up gigabytes would take long
        raise Damaged(f"{path.name}: expected at most {MAX_JSON_BYTES:,} bytes, got more")
    _require_sum(path, digest, hashlib.sha256(raw).hexdigest())
    try:
        document = from_json(raw)
    except ValueError as error:
        raise Damaged(f"{path.name} is not the JSON that was written: {error}") from error
    if not isinstance(document, dict):
        raise Damaged(f"{path.name}: expected a JSON object, got {type(document).__name__}")
    return document
