"""Weights alone, to be passed on: a folder with model.safetensors, config.json and SHA256SUMS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from helpers.storage.checkpoint._errors import Damaged, Foreign, storage
from helpers.storage.checkpoint._folder import (
    Kind,
    clean,
    holds_only_ours,
    leftovers,
    read_document,
    read_files,
    write_folder,
)
from helpers.storage.checkpoint._state import COURSE, current_versions
from helpers.storage.checkpoint._tensor_file import check_storable
from helpers.storage.checkpoint._tree import Shelf, decode, encode

WEIGHTS_FILE = "model.safetensors"
MODEL = Kind(f"{COURSE}/model", 1, "config.json", (WEIGHTS_FILE,))


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
    """Write weights with the care of a checkpoint: whole or not at all, with sums; shared matrices once.

    folder       of the model, replaced if it is one; or the path of model.safetensors in it. The parent must exist
    model_state  `model.state_dict()`
    config       JSON dict that builds the model
    extra        JSON dict: data, tokens seen, validation loss
    dtype        torch.dtype in which floating-point tensors are stored, such as torch.bfloat16; None: their own
    return       the folder

    ValueError: a value that cannot be stored, or a dtype that is not of floating point.
    Foreign: the folder holds other files; nothing has been written. StorageError: as `save`.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype must be of floating point, such as torch.bfloat16, got {dtype}")
    folder, shelf = _folder(folder), Shelf()
    document = {"versions": current_versions()}
    document |= {"config": encode(config, "config"), "extra": encode(extra or {}, "extra")}
    document["model"] = encode(model_state, "", shelf)
    tensors = {name: t.to(dtype) if dtype and t.is_floating_point() else t for name, t in shelf.tensors.items()}
    check_storable(tensors)
    with storage(f"preparing for {folder.name}", folder.parent):
        if os.path.lexists(folder) and not holds_only_ours(folder, MODEL):
            raise Foreign(f"{folder} holds something else than a model of this course: choose a folder of its own")
        clean(folder.parent, re.escape(folder.name), MODEL, load_model)
    write_folder(folder, MODEL, document, {WEIGHTS_FILE: tensors})
    return folder


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> SavedModel:
    """Weights that `save_model` wrote, every byte verified, in the precision they are stored in.

    folder   of the model, or the path of model.safetensors in it
    device   where the tensors go
    return   SavedModel; `restore(model, None, saved, same_dtype=False)` puts it into a model

    Damaged, Foreign, Future, StorageError: as `load`.
    """
    path = _folder(folder)
    with storage(f"reading {path.name}", path.parent):
        if not os.path.lexists(path):  # a writer was killed between two renames: the former one stands aside
            aside = [p for p, _, state in leftovers(path.parent, re.escape(path.name)) if state == "replaced"]
            path = aside[-1] if aside else path
    document, sums = read_document(path, MODEL)
    tensors = {k: t.to(device) for k, t in read_files(path, MODEL, document, sums)[WEIGHTS_FILE].items()}
    values = {
        name: decode(document.get(name), f"config.json: {name}", tensors if name == "model" else None)
        for name in ("model", "config", "extra", "versions")
    }
    for name, value in values.items():
        if not isinstance(value, dict):
            raise Damaged(f"config.json in {path}: expected a dict for {name}, got {type(value).__name__}")
    return SavedModel(**values)


def _folder(path: str | Path) -> Path:
    path = Path(path)
    return path.parent if path.name == WEIGHTS_FILE else path
