"""The checkpoints of a run: save, find the newest good one, load, verify, describe."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from helpers.storage.checkpoint import folder as folders
from helpers.storage.checkpoint.folder import COURSE, SUMS, Kind
from helpers.storage.errors import CheckpointError, Damaged, StorageError, storage
from helpers.storage.files import REPLACED, UNFINISHED, remove_folder, sync_folder

MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
RUN = Kind(f"{COURSE}/checkpoint", "state.json", (MODEL_FILE, OPTIMIZER_FILE))
_STEP = re.compile(r"step-(\d{8}|[1-9]\d{8,})")
_CANDIDATE = re.compile(rf"{_STEP.pattern}|\.{_STEP.pattern}{re.escape(REPLACED)}")
_PLAIN = ("schedule", "scaler", "rng", "data", "config", "extra")  # fields of a RunState that go into the JSON file


@dataclass
class RunState:
    """A run between two steps. Tensors may lie on any device; the rest is plain JSON: no tuples, no NaN.

    step       optimizer steps done, at least 0
    model      `model.state_dict()`
    optimizer  `optimizer.state_dict()`, or None; each parameter's state holds tensors and plain values
    schedule   where the learning rate stands
    scaler     `GradScaler.state_dict()`, or None where there is none
    rng        what `capture_rng` gives
    data       where the reading of the data stands
    config     sizes and switches of the model and of the run
    extra      anything else: tokens seen, the best loss
    versions   what wrote it; filled in on the way to the disk
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict | None = None
    schedule: dict = field(default_factory=dict)
    scaler: dict | None = None
    rng: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 0:
            raise ValueError(f"step must be a whole number of at least 0, got {self.step!r}")
        for name in ("model", "schedule", "rng", "data", "config", "extra", "versions"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be a dict, got {type(getattr(self, name)).__name__}")
        for name in ("optimizer", "scaler"):
            if not isinstance(getattr(self, name), dict | None):
                raise ValueError(f"{name} must be its state_dict or None, got {type(getattr(self, name)).__name__}")


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint, and why newer ones were refused.

    Nothing found and something refused is not a fresh start: say so rather than train from the beginning.
    """

    path: Path | None
    state: RunState | None
    refused: list[tuple[Path, str]] = field(default_factory=list)


def save(folder: str | Path, state: RunState, *, keep: int = 2) -> Path:
    """Write `state` as folder/step-########, whole or not at all, then remove older checkpoints.

    folder   the run's folder; it is created, its parent is not: a drive that has gone must not come back as a folder
    state    of the run between two steps
    keep     how many good checkpoints stay, this one included; at least 1. Each of the others is verified first
    return   path of the new checkpoint

    A checkpoint of the same step is moved aside, replaced, and only then deleted; `find` knows both names.
    A folder with a file that is not ours is never deleted. In memory one file more is needed for a moment.

    ValueError: a value in `state` that cannot be stored, or keep < 1; nothing has been written.
    StorageError: the folder cannot be written; earlier checkpoints are as they were.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise ValueError(f"keep must be a whole number of at least 1, got {keep!r}")
    folder = Path(folder)
    raw, tensors = _encode(state)
    final = folder / f"step-{state.step:08d}"
    with storage(f"preparing for {final.name}", folder):
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(folder.parent)
        folders.recover(folder, _STEP, verify)
        if os.path.lexists(final) and not folders.holds_only_ours(final, RUN):
            raise StorageError(f"{final} holds something else than a checkpoint: move it away to save this step")
    folders.write(final, RUN, raw, tensors)
    with storage(f"{final.name} is safe, but removing older checkpoints", folder):
        _prune(folder, final, keep)
    return final


def _encode(state: RunState) -> tuple[bytes, dict[str, dict[str, Tensor]]]:
    weights, shared = folders.stored_once(state.model)
    document = {"step": state.step, "shared": shared} | {name: getattr(state, name) for name in _PLAIN}
    document["optimizer"], moments = None, {}
    if state.optimizer is not None:
        document["optimizer"], moments = _split_optimizer(state.optimizer)
    return folders.to_json(RUN, document), {MODEL_FILE: weights, OPTIMIZER_FILE: moments}


def _split_optimizer(optimizer: dict) -> tuple[dict, dict[str, Tensor]]:
    """A state_dict as plain values and tensors: {"param_groups": ..., "state": {"0": ...}}, {"0.exp_avg": ...}."""
    groups = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in group.items()}
        for group in optimizer["param_groups"]
    ]
    plain = {str(key): {} for key in optimizer["state"]}
    moments = {}
    for key, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                moments[f"{key}.{name}"] = value
            else:
                plain[str(key)][name] = value
    return {"param_groups": groups, "state": plain}, folders.stored_once(moments)[0]


def _joined_optimizer(plain: dict | None, moments: dict[str, Tensor]) -> dict | None:
    """The inverse of `_split_optimizer`. KeyError and its kin: the two do not belong together."""
    if plain is None:
        return None
    state = {int(key): dict(values) for key, values in plain["state"].items()}
    for full_name, tensor in moments.items():
        key, _, name = full_name.partition(".")
        state[int(key)][name] = tensor
    groups = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in group.items()}  # betas are a tuple
        | {"params": [int(key) for key in group["params"]]}
        for group in plain["param_groups"]
    ]
    return {"state": state, "param_groups": groups}


def load(path: str | Path, device: str | torch.device = "cpu", *, needs: Iterable[str] = ()) -> RunState:
    """One checkpoint, every byte of it verified.

    path     of a folder `step-########`
    device   where the model's tensors go; the optimizer's stay on the CPU, since `load_state_dict` moves them
    needs    what the run cannot go on without, such as "data.n_tokens"
    return   RunState; a tensor that stood under two names is one tensor under two names again

    Damaged, Foreign, Future, StorageError: see those; nothing from the files is ever executed. Damaged also where a
    weight or a moment is NaN or infinite, since no run can go on from there.
    """
    path = Path(path)
    document, tensors = folders.read(path, RUN)
    _check_step(document, path)
    try:
        state = _decode(document, tensors, device)
        for name in needs:
            part, _, key = name.partition(".")
            if key not in getattr(state, part):
                raise ValueError(f"{name} is missing, and the run needs it to go on")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{RUN.json_name} in {path} is not as it was written: {error!r}") from error
    for file, held in tensors.items():
        wrong = [name for name, t in held.items() if t.is_floating_point() and not _is_finite(t)]
        if wrong:
            raise Damaged(f"{file} in {path}: NaN or infinity in {', '.join(wrong[:5])}: no run can go on from there")
    return state


def _decode(document: dict, tensors: dict[str, dict[str, Tensor]], device: str | torch.device) -> RunState:
    weights = {name: tensor.to(device) for name, tensor in tensors[MODEL_FILE].items()}
    return RunState(
        step=document["step"],
        model=folders.with_shared(weights, document["shared"]),
        optimizer=_joined_optimizer(document["optimizer"], tensors[OPTIMIZER_FILE]),
        versions=document["versions"],
        **{name: document[name] for name in _PLAIN},
    )


def find(folder: str | Path, device: str | torch.device = "cpu", *, needs: Iterable[str] = ()) -> Found:
    """The newest checkpoint of a run that is good, loaded.

    folder          of the run; one that does not exist yet holds nothing, as long as its parent exists
    device, needs   as for `load`
    return          Found; what killed writes left is not looked at

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
            return Found(path, load(path, device, needs=needs), refused)
        except CheckpointError as error:
            refused.append((path, str(error)))
    return Found(None, None, refused)


def verify(path: str | Path) -> None:
    """Read all of a checkpoint as `load` does and keep nothing of it. Raises as `load`."""
    load(path)


def describe(path: str | Path) -> dict:
    """Step, size and versions of a checkpoint, from its JSON: its tensors are not read, so not verified either.

    return   {"step": int, "bytes": all files together, "versions": dict}

    Damaged, Foreign, Future, StorageError: as `load`, as far as these show without the tensors.
    """
    path = Path(path)
    document, _ = folders.read_document(path, RUN)
    _check_step(document, path)
    with storage(f"reading {path.name}", path.parent):
        n_bytes = sum(os.lstat(path / file).st_size for file in (*RUN.files, SUMS))
    return {"step": document["step"], "bytes": n_bytes, "versions": document.get("versions")}


def _is_finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # torch asks no float8
    return bool(wide.isfinite().all())


def _check_step(document: dict, path: Path) -> None:
    step, match = document.get("step"), _CANDIDATE.fullmatch(path.name)
    if type(step) is not int or step < 0:
        raise Damaged(f"{RUN.json_name} in {path}: expected a step of at least 0, got {step!r}")
    if match and int(match[1] or match[2]) != step:
        raise Damaged(f"{path} holds step {step}: the folder was renamed, or its files come from another one")


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path), newest first, what was moved aside for a successor after the successor."""
    matches = [(_CANDIDATE.fullmatch(path.name), path) for path in folder.iterdir()]
    steps = [(int(match[1] or match[2]), path) for match, path in matches if match]
    return sorted(steps, key=lambda pair: (-pair[0], pair[1].name.startswith(".")))


def _prune(folder: Path, newest: Path, keep: int) -> None:
    n_good = 1  # the one just written
    for _, path in _checkpoints(folder):
        if path == newest:
            continue
        if n_good < keep:
            n_good += _passes(verify, path)
        elif folders.holds_only_ours(path, RUN) and _passes(describe, path):
            doomed = folder / f".{path.name.removeprefix('.')}{UNFINISHED}"
            os.rename(path, doomed)  # out of sight first: a kill in the middle leaves no half of it under a step's name
            remove_folder(doomed)


def _passes(check: Callable[[Path], object], path: Path) -> bool:
    with suppress(CheckpointError):
        check(path)
        return True
    return False
