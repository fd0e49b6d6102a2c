"""The folder of a run's checkpoints: save, find the newest good one, load, verify, describe."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch

from helpers.storage.checkpoint._errors import CheckpointError, Damaged, storage
from helpers.storage.checkpoint._files import sync_folder
from helpers.storage.checkpoint._folder import (
    SUMS,
    Kind,
    clean,
    discard,
    holds_only_ours,
    leftovers,
    read_document,
    read_files,
    write_folder,
)
from helpers.storage.checkpoint._state import COURSE, RunState
from helpers.storage.checkpoint._tensor_file import check_storable
from helpers.storage.checkpoint._tree import Shelf, decode, encode

MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
RUN = Kind(f"{COURSE}/checkpoint", 1, "state.json", (MODEL_FILE, OPTIMIZER_FILE))
_STEP = r"step-(?:\d{8}|[1-9]\d{8,})"
_NAME = re.compile(rf"(\.?)({_STEP})(\.replaced-[0-9a-f]{{8}})?")
_ON_SHELVES = {"model": MODEL_FILE, "optimizer": OPTIMIZER_FILE}


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint, and why newer ones were refused.

    Nothing found and something refused is not a fresh start: say so rather than train from the beginning.
    """

    path: Path | None
    state: RunState | None
    refused: list[tuple[Path, str]] = field(default_factory=list)


def save(folder: str | Path, state: RunState, *, keep: int = 2, protect: Iterable[int] = ()) -> Path:
    """Write `state` as folder/step-########, whole or not at all, then prune older checkpoints.

    folder   the run's folder; it is created, its parent is not: a drive that has gone must not come back as a folder
    state    of the run between two steps
    keep     how many good checkpoints stay, this one included; at least 1. Each of the others is verified first
    protect  steps that are never pruned, besides those
    return   path of the new checkpoint

    A checkpoint of the same step is moved aside, replaced, and only then deleted; `find` knows both names.
    Whatever holds a file that is not ours is never deleted.

    ValueError: a value in `state` that cannot be stored, or keep < 1; nothing has been written.
    StorageError: the folder cannot be written; earlier checkpoints are as they were.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise ValueError(f"keep must be a whole number of at least 1, got {keep!r}")
    folder = Path(folder)
    document, tensors = _encode(state)
    final = folder / f"step-{state.step:08d}"
    with storage(f"preparing for {final.name}", folder):
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(folder.parent)
        clean(folder, _STEP, RUN, verify)
    write_folder(final, RUN, document, tensors)
    with storage(f"{final.name} is safe, but removing older checkpoints", folder):
        _prune(folder, final, keep, set(protect))
    return final


def _encode(state: RunState) -> tuple[dict, dict[str, dict]]:
    shelves = {name: Shelf() for name in _ON_SHELVES}
    document = {}
    for name in (entry.name for entry in fields(RunState)):
        shelf = shelves.get(name)
        document[name] = encode(getattr(state, name), "" if shelf else name, shelf)
    for shelf in shelves.values():
        check_storable(shelf.tensors)
    return document, {file: shelves[name].tensors for name, file in _ON_SHELVES.items()}


def _prune(folder: Path, newest: Path, keep: int, protect: set[int]) -> None:
    n_good = 1  # the one just written
    for step, path in _checkpoints(folder):
        if path == newest:
            continue
        if n_good < keep:
            n_good += _passes(verify, path)
        elif step not in protect and holds_only_ours(path, RUN) and _passes(describe, path):
            doomed = folder / f".step-{step:08d}.writing-{secrets.token_hex(4)}"
            os.rename(path, doomed)  # out of sight first: a kill in the middle must leave no ruin under a step's name
            discard(doomed, RUN)


def _passes(check: Callable[[Path], object], path: Path) -> bool:
    try:
        check(path)
    except CheckpointError:
        return False
    return True


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path), newest first, what was moved aside for a successor after the successor."""
    aside = [(entry, name) for entry, name, state in leftovers(folder, _STEP) if state == "replaced"]
    named = [(entry, entry.name) for entry in folder.iterdir() if re.fullmatch(_STEP, entry.name)]
    steps = [(int(name.removeprefix("step-")), entry) for entry, name in named + aside]
    return sorted(steps, key=lambda pair: (-pair[0], pair[1].name.startswith("."), pair[1].name))


def find(folder: str | Path, device: str | torch.device = "cpu") -> Found:
    """The newest checkpoint of a run that is good, loaded.

    folder   of the run; one that does not exist yet holds nothing, as long as its parent exists
    device   as for `load`
    return   Found; what killed writes left is not looked at

    StorageError: the folder cannot be listed, or its parent has gone.
    """
    folder = Path(folder)
    with storage("looking for checkpoints", folder):
        if not folder.exists():
            os.stat(folder.absolute().parent)
            return Found(None, None)
        candidates = _checkpoints(folder)
    refused = []
    for _, path in candidates:
        try:
            return Found(path, load(path, device), refused)
        except CheckpointError as error:
            refused.append((path, str(error)))
    return Found(None, None, refused)


def load(path: str | Path, device: str | torch.device = "cpu") -> RunState:
    """One checkpoint, every byte of it verified.

    path     of a folder `step-########`
    device   where the model's tensors go; the optimizer's stay on the CPU, since `load_state_dict` moves them
    return   RunState; a tensor that stood under two names is one tensor under two names again

    Damaged, Foreign, Future, StorageError: see those; nothing from the files is ever executed.
    """
    state = _read(Path(path), keep=True)
    moved = {id(value): value.to(device) for value in state.model.values() if isinstance(value, torch.Tensor)}
    state.model = {name: moved.get(id(value), value) for name, value in state.model.items()}
    return state


def _read(path: Path, keep: bool) -> RunState:
    """With keep=False everything is verified as well, and None stands for each tensor."""
    document, sums = read_document(path, RUN)
    _check_step(document, path)
    files = read_files(path, RUN, document, sums, keep)
    values = {}
    for name in (entry.name for entry in fields(RunState)):
        if name not in document:
            raise Damaged(f"{RUN.json_name} in {path} says nothing of {name}")
        values[name] = decode(document[name], f"{RUN.json_name}: {name}", files.get(_ON_SHELVES.get(name)))
    try:
        return RunState(**values)
    except ValueError as error:
        raise Damaged(f"{RUN.json_name} in {path}: {error}") from error


def verify(path: str | Path) -> None:
    """Read all of a checkpoint as `load` does and keep nothing of it. Raises as `load`."""
    _read(Path(path), keep=False)


def describe(path: str | Path) -> dict:
    """Step, size and versions of a checkpoint, from its JSON: its tensors are not read, so not verified either.

    return   {"step": int, "bytes": all files together, "versions": dict}

    Damaged, Foreign, Future, StorageError: as `load`, as far as these show without the tensors.
    """
    path = Path(path)
    document, _ = read_document(path, RUN)
    _check_step(document, path)
    with storage(f"reading {path.name}", path.parent):
        n_bytes = sum(os.lstat(path / file).st_size for file in (*RUN.files, SUMS))
    return {"step": document["step"], "bytes": n_bytes, "versions": document.get("versions")}


def _check_step(document: dict, path: Path) -> None:
    step, match = document.get("step"), _NAME.fullmatch(path.name)
    if type(step) is not int or step < 0:
        raise Damaged(f"{RUN.json_name} in {path}: expected a step of at least 0, got {step!r}")
    if match and int(match[2].removeprefix("step-")) != step:
        raise Damaged(f"{path} holds step {step}: the folder was renamed, or its files come from another one")
