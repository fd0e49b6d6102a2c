"""Weights alone, to be passed on: a folder with model.safetensors, config.json and SHA256SUMS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from helpers.gpt import require_kind
from helpers.storage.checkpoint import folder as folders
from helpers.storage.checkpoint.folder import COURSE, MODEL_FILE, Kind
from helpers.storage.errors import CheckpointError, Foreign, storage
from helpers.storage.files import as_path, former, settle

MODEL = Kind(f"{COURSE}/model", "config.json", (MODEL_FILE,))


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
    """Write weights with the care of a checkpoint: whole or not at all, with sums; returns the folder.

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
