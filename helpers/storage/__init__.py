"""Runs and weights on disk: a checkpoint that is verified before it is believed, published weights in and out."""

from helpers.storage import checkpoint, weights
from helpers.storage.errors import StorageError
from helpers.storage.files import as_path, read_json, sha256, write_aside
from helpers.storage.ids import open_ids, write_ids

# fmt: off
__all__ = [
    "StorageError", "as_path", "checkpoint", "open_ids", "read_json", "sha256", "weights", "write_aside", "write_ids",
]
