"""The checkpoints of a run: save, load, find the newest good one, verify. And weights alone, to be passed on."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from helpers.gpt import require_kind, require_whole
from helpers.storage.checkpoint import folder as folders
from helpers.storage.checkpoint.folder import COURSE, MODEL_FILE, Kind
from helpers.storage.errors import CheckpointError, Damaged, Foreign, storage
from helpers.storage.files import REPLACED, UNFINISHED, as_path, former, remove, settle, sync, unfinished

OPTIMIZER_FILE = "optimizer.safetensors"
RUN = Kind(f"{COURSE}/checkpoint", "state.json", (MODEL_FILE, OPTIMIZER_FILE))
MODEL = Kind(f"{COURSE}/model", "config.json", (MODEL_FILE,))
_NAME = re.compile(rf"step-(\d{{8,}})|\.step-(\d{{8,}}){re.escape(REPLACED)}")
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
        require_whole(at_least=0, step=self.step)
        self.step = int(self.step)  # JSON knows no numpy
        for name, value in vars(self).items():
            if name != "step":
                require_kind(dict | None if name in ("optimizer", "scaler") else dict, **{name: value})


Check = Callable[[RunState], object]


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint, and why newer ones were refused: nothing found but refusals is no fresh start."""

    path: Path | None
    state: RunState | None
    refused: list[tuple[Path, str]] = field(default_factory=list)


def save(folder: str | Path, state: RunState, *, keep: int = 2) -> Path:
    """Write `state` as folder/step-########, whole or not at all, then remove older checkpoints; returns its path.

    folder   the run's folder; it is created, its parent is not: a drive that has gone must not come back as a folder
    keep     how many good checkpoints stay, this one included; at least 1. Each of the others is verified first; those
             of later steps, which a run may have passed over, neither count nor go

    A checkpoint of the same step stays until its successor is whole. A file that is not ours is never deleted, nor the
    older checkpoint that it lies in; what file managers leave is none.

    ValueError: a value in `state` that cannot be stored, a tensor with NaN or infinity, or keep < 1. Foreign: something
    else stands under the name. StorageError: the folder cannot be written. Good earlier checkpoints are as they were.
    """
    require_whole(keep=keep)
    require_kind(RunState, state=state)
    folder = as_path(folder)
    weights, shared = folders.stored_once(state.model)
    optimizer, moments = _split_optimizer(state.optimizer)
    tensors = {MODEL_FILE: weights, OPTIMIZER_FILE: moments}
    for file, held in tensors.items():
        folders.require_finite(file, held)
    document = {"step": state.step, "shared": shared} | {name: getattr(state, name) for name in _PLAIN}
    raw = folders.to_json(RUN, document | {"optimizer": optimizer})
    final = folder / f"step-{state.step:08d}"
    with storage(f"preparing for {final.name}", folder):
        if not folder.is_dir():
            folder.mkdir()
            sync(folder.parent)
        _clean(folder)
        folders.require_replaceable(final, RUN)
        if len(_newest_first(folder)) > keep:  # fewer than before: the disk may be full
            _prune(folder, state.step, keep)
    folders.write(final, RUN, raw, tensors)
    with storage(f"{final.name} is safe, but removing older checkpoints", folder):
        _prune(folder, state.step, keep - 1)
    return final


def _split_optimizer(optimizer: dict | None) -> tuple[dict | None, dict[str, Tensor]]:
    """A state_dict as plain values and tensors: {"param_groups": ..., "state": {"0": ...}}, {"0.exp_avg": ...}."""
    if optimizer is None:
        return None, {}
    groups = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in group.items()}
        for group in optimizer["param_groups"]
    ]
    plain, moments = {}, {}
    for key, values in optimizer["state"].items():
        plain[str(key)] = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        moments |= {f"{key}.{name}": value for name, value in values.items() if isinstance(value, Tensor)}
    stored, shared = folders.stored_once(moments)
    return {"param_groups": groups, "state": plain}, stored | {a: stored[b].clone() for a, b in shared.items()}


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


def load(path: str | Path, device: str | torch.device = "cpu", *, check: Check = bool) -> RunState:
    """One checkpoint, every byte of it verified.

    device   where the model's tensors go; the optimizer's stay on the CPU, since `load_state_dict` moves them
    check    raises ValueError where the state lacks what the run cannot go on without
    return   a tensor that stood under two names is one tensor under two names again

    Damaged, Foreign, Future, StorageError: see those; nothing from the files is ever executed. Damaged also where a
    weight or a moment is NaN or infinite, since no run can go on from there.
    """
    path = as_path(path)
    document, tensors = folders.read(path, RUN, device)
    with folders.as_written(path):
        plain = {name: document[name] for name in ("step", "versions", *_PLAIN)}
        optimizer = _joined_optimizer(document["optimizer"], tensors[OPTIMIZER_FILE])
        state = RunState(model=tensors[MODEL_FILE], optimizer=optimizer, **plain)
        check(state)
    if _step_in(path) not in (None, state.step):
        raise Damaged(f"{path} holds step {state.step}: the folder was renamed, or its files come from another one")
    return state


def find(folder: str | Path, device: str | torch.device = "cpu", *, check: Check = bool) -> Found:
    """The newest checkpoint of a run that is good, loaded; `device` and `check` as for `load`.

    A folder that does not exist yet holds nothing, as long as its parent exists. What killed writes left is not looked
    at. StorageError: the folder cannot be listed, or its parent has gone.
    """
    folder = as_path(folder)
    with storage("looking for checkpoints", folder):
        if not folder.exists():
            os.stat(folder.absolute().parent)
            return Found(None, None)
        candidates = _newest_first(folder)
    refused = []
    for path in candidates:
        try:
            return Found(path, load(path, device, check=check), refused)
        except CheckpointError as error:
            refused.append((path, str(error)))
    return Found(None, None, refused)


def verify(path: str | Path) -> None:
    """Read all of a checkpoint as `load` does and keep nothing of it. Raises as `load`."""
    load(path)


def _step_in(path: Path) -> int | None:
    """The step that a checkpoint's name says, also while it is moved aside; None: any other name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1] or match[2]) if match else None


def _newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder; what was moved aside for a successor comes after the successor."""
    steps = {path: step for path in folder.iterdir() if (step := _step_in(path)) is not None}
    return sorted(steps, key=lambda path: (-steps[path], path.name.startswith(".")))


def _clean(folder: Path) -> None:
    """After a kill: remove what was being written or removed, and settle what was moved aside."""
    for path in sorted(folder.glob(f".*{UNFINISHED}")):
        if _step_in(path.with_name(path.name[1:].removesuffix(UNFINISHED))) is not None:
            remove(path)
    for path in _newest_first(folder):
        if path.name.startswith("."):
            settle(path.with_name(path.name[1:].removesuffix(REPLACED)), verify)


def _prune(folder: Path, step: int, keep: int) -> None:
    """Remove all but `keep` good checkpoints of those before `step`."""
    n_good = 0
    for path in _newest_first(folder):
        if _step_in(path) >= step:
            continue
        with suppress(CheckpointError):  # what is not good does not count, and what is not ours stays
            if n_good < keep:
                verify(path)
                n_good += 1
            elif folders.holds_only_ours(path, RUN):
                folders.read_document(path, RUN)
                os.rename(path, unfinished(path))  # out of sight first: a kill leaves no half of it under a step's name
                remove(unfinished(path))


@dataclass
class SavedModel:
    """Weights, the config that builds the model they fit, and what was said of them."""

    model: dict[str, Tensor]
    config: dict
    extra: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)


def save_model(
    folder: str | Path,
    model_state: dict[str, Tensor],
    config: dict,
    extra: dict | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights with the care of a checkpoint: whole or not at all, with checksums; returns the folder.

    folder       of the model, replaced if it is one. The parent must exist
    model_state  `model.state_dict()`
    config       JSON dict that builds the model
    extra        JSON dict: data, tokens seen, validation loss
    dtype        in which floating-point tensors are stored, such as torch.bfloat16; None: their own

    ValueError: a value that cannot be stored, NaN or infinity, also where a number is too large for `dtype`; a dtype
    that is not of floating point. Foreign: something else than a model stands there; nothing has been written.
    StorageError: as `save`.
    """
    require_kind(dict, model_state=model_state, config=config, extra=extra or {})
    if dtype is not None and not getattr(dtype, "is_floating_point", False):
        raise ValueError(f"dtype must be of floating point, such as torch.bfloat16, got {dtype}")
    folder = as_path(folder)
    stored, shared = folders.stored_once(model_state)
    raw = folders.to_json(MODEL, {"config": config, "extra": extra or {}, "shared": shared})
    tensors = {name: t.to(dtype) if dtype and t.is_floating_point() else t for name, t in stored.items()}
    folders.require_finite(MODEL_FILE, tensors)
    with storage(f"preparing for {folder.name}", folder.parent):
        folders.require_replaceable(folder, MODEL)
        settle(folder, lambda path: folders.read(path, MODEL))
    folders.write(folder, MODEL, raw, {MODEL_FILE: tensors})
    return folder


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> SavedModel:
    """Weights that `save_model` wrote, every byte verified, on `device`, in the precision they are stored in.

    `restore(model, None, saved, same_dtype=False)` puts them into a model. Damaged, Foreign, Future, StorageError: as
    `load`.
    """
    path = as_path(folder)
    try:
        document, tensors = folders.read(path, MODEL, device)
    except CheckpointError as error:
        path = former(path)
        if isinstance(error, Foreign) or not path.is_dir():
            raise
        document, tensors = folders.read(path, MODEL, device)  # whoever was replacing it was killed meanwhile
    with folders.as_written(path):
        said = {name: dict(document[name]) for name in ("config", "extra", "versions")}
    return SavedModel(tensors[MODEL_FILE], **said)
