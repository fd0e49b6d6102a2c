from helpers.storage.errors import CheckpointError, Damaged, Foreign, Future, StorageError, storage  # noqa: F401
