"""Runs and weights on disk: a checkpoint that is verified before it is believed, published weights in and out."""

from helpers.storage import checkpoint, weights
from helpers.storage.errors import StorageError
from helpers.storage.files import write_aside

__all__ = ["StorageError", "checkpoint", "weights", "write_aside"]
