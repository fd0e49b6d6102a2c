"""A training run on disk: saved whole, verified before it is believed, and never able to run code when opened.

A checkpoint is a folder, `step-00001200/`, with four files that other tools read too:
    model.safetensors      the weights; a matrix that two layers share is stored once
    optimizer.safetensors  the tensors of the optimizer's state
    state.json             all the rest, and a table of the tensors: file, name, dtype, shape, crc32
    SHA256SUMS             the other three, as `sha256sum -c SHA256SUMS` reads them; written last
"""

from helpers.storage.checkpoint._errors import CheckpointError, Damaged, Foreign, Future, StorageError
from helpers.storage.checkpoint._model_folder import SavedModel, load_model, save_model
from helpers.storage.checkpoint._restore import restore
from helpers.storage.checkpoint._rng import capture_rng, restore_rng
from helpers.storage.checkpoint._state import RunState, current_versions
from helpers.storage.checkpoint._store import Found, describe, find, load, save, verify

__all__ = [
    "CheckpointError",
    "Damaged",
    "Foreign",
    "Found",
    "Future",
    "RunState",
    "SavedModel",
    "StorageError",
    "capture_rng",
    "current_versions",
    "describe",
    "find",
    "load",
    "load_model",
    "restore",
    "restore_rng",
    "save",
    "save_model",
    "verify",
]
