"""The folders of a run: one that only one run may use at a time, and those that its checkpoints go to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers import checkpoint
from helpers.pretrain._console import Console

try:
    import fcntl
except ImportError:  # Windows: nothing guards there
    fcntl = None

CHECKPOINTS, IDS, LOG, BEST, FINAL, LOCK = "checkpoints", "ids", "log.jsonl", "best", "model", ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The run's folder, made where it is missing, for this process alone; a killed process leaves it free.

    ValueError: it cannot be made or written, or another run is using it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = open(out / LOCK, "a+")  # noqa: SIM115, closed by the block below
    except OSError as error:
        raise ValueError(f"--out: {out} cannot be written ({error.strerror}): choose another folder") from error
    with file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"--out: another run is writing to {out}: wait for it, stop it, or choose another folder"
                ) from error
            except OSError:
                pass  # a network drive that knows no locks
        yield


class Checkpoints:
    """Where a run's checkpoints are. A folder that fails is warned of, and the others do its work.

    out   of the run; its checkpoints are in a folder inside
    also  a second folder, or None; its parent must be there, which tells a drive that has gone
    """

    def __init__(self, out: Path, also: Path | None, console: Console) -> None:
        self.folders = [out / CHECKPOINTS, *([also] if also else [])]
        self.console = console

    def newest(self, must: bool) -> checkpoint.Found | None:
        """The newest good checkpoint of all folders; None where none was ever made, as far as can be seen.

        ValueError: there are checkpoints and none is good; none can be reached; there is none and `must`.
        """
        newest, n_refused, unreachable = None, 0, []
        for folder in self.folders:
            try:
                found = checkpoint.find(folder)
            except checkpoint.StorageError as error:
                unreachable.append(folder)
                self.console.warn(f"{error}. Looking on without it")
                continue
            for path, reason in found.refused:
                self.console.warn(f"{path} is passed over: {reason}")
            n_refused += len(found.refused)
            if found.state and (newest is None or found.state.step > newest.state.step):
                newest = found
        if newest is None:
            self._require_beginning(must, n_refused, unreachable)
        return newest

    def _require_beginning(self, must: bool, n_refused: int, unreachable: list[Path]) -> None:
        """ValueError: a run must not begin anew here."""
        names = ", ".join(map(str, self.folders))
        if len(unreachable) == len(self.folders):
            raise ValueError(f"no folder for checkpoints can be reached: {names}. Mount the drive, or choose another")
        if n_refused:
            raise ValueError(
                f"no good checkpoint under {names} to go on from, {n_refused} refused: "
                "put a good copy there, or remove the folder to begin anew"
            )
        if must:
            raise ValueError(f"--resume must: no checkpoint under {names} to go on from")
        if unreachable:
            where = ", ".join(map(str, unreachable))
            self.console.warn(f"the run begins anew, and {where} may hold its checkpoints: if so, stop it and mount")

    def save(self, state: checkpoint.RunState, keep: int) -> bool:
        """Save to every folder; whether at least one has it now."""
        kept = False
        for folder in self.folders:
            try:
                checkpoint.save(folder, state, keep=keep)
                kept = True
            except checkpoint.StorageError as error:
                here = _is_good(folder / f"step-{state.step:08d}")  # the error may be about older ones
                kept = kept or here
                what = "was saved, but with trouble" if here else f"was not saved to {folder}"
                self.console.warn(f"step {state.step} {what}: {error}. Training goes on", str(folder))
        return kept


def _is_good(path: Path) -> bool:
    try:
        checkpoint.verify(path)
    except checkpoint.CheckpointError:
        return False
    return True
