"""What can be wrong with a file of ours or with the drive it lies on, each with a way out."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CheckpointError(ValueError):
    """Something that is not a checkpoint that can be trusted; the message says what and where."""


class Damaged(CheckpointError):
    """One of ours, but truncated, altered, mixed up or incomplete."""


class Foreign(CheckpointError):
    """Not one of ours: a pickle, somebody else's weights, an empty folder."""


class Future(CheckpointError):
    """One of ours, written by a later edition of the course."""


class StorageError(CheckpointError, OSError):
    """The folder cannot be read or written: a full disk, no permission, a network drive that has gone."""


_WAYS_OUT = {
    errno.ENOSPC: "the disk is full: make room, or keep fewer checkpoints",
    errno.EDQUOT: "the quota is used up: make room, or keep fewer checkpoints",
    errno.EROFS: "the drive can only be read: choose another folder",
    errno.EACCES: "no permission: choose another folder, or change whom it belongs to",
    errno.EPERM: "no permission: choose another folder, or change whom it belongs to",
    errno.ENOENT: "it is not there: if it is on a network drive, mount the drive again; else create the parent folder",
    errno.EEXIST: "a file stands where a folder should be: choose another folder",
    errno.ENOTDIR: "a file stands where a folder should be: choose another folder",
}
_OTHER_WAY_OUT = "if it is on a network drive, mount the drive again; else choose another folder"


@contextmanager
def storage(doing: str, folder: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that names the folder, what failed and what to do."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        cause = error.strerror or str(error) or type(error).__name__
        way_out = _WAYS_OUT.get(error.errno, _OTHER_WAY_OUT)
        wrapped = StorageError(f"{folder}: {doing} failed ({cause}); {way_out}")
        wrapped.errno = error.errno
        raise wrapped from error
