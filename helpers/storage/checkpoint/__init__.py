"""A training run on disk: saved whole, verified before it is believed, and never able to run code when opened.

A checkpoint is a folder, `step-00001200/`, with four files that other tools read too:
    model.safetensors      the weights; a matrix that two layers share is stored once
    optimizer.safetensors  the tensors of the optimizer's state, "0.exp_avg" and so on
    state.json             all the rest
    SHA256SUMS             the other three, as `sha256sum -c SHA256SUMS` reads them; written last
"""

from helpers.storage.checkpoint.folder import current_versions
from helpers.storage.checkpoint.restore import capture_rng, restore, restore_rng
from helpers.storage.checkpoint.run import Found, RunState, SavedModel, find, load, load_model, save, save_model, verify
from helpers.storage.errors import CheckpointError, Damaged, Foreign, Future, StorageError

__all__ = [
    "CheckpointError", "Damaged", "Foreign", "Found", "Future", "RunState", "SavedModel", "StorageError",
    "capture_rng", "current_versions", "find", "load", "load_model", "restore", "restore_rng", "save", "save_model",
    "verify",
]  # fmt: skip
