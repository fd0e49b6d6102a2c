"""The folders of a run: one that only one run may use at a time, and those that its checkpoints go to.

Also what a checkpoint says of its machine: whether the last bits will be the same on another one.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch

from helpers.labs.pretrain.log import read_lines, warn
from helpers.labs.pretrain.plan import differences
from helpers.storage import StorageError, checkpoint

try:
    import fcntl
except ImportError:  # Windows: nothing guards there
    fcntl = None

CHECKPOINTS, IDS, LOG, BEST, FINAL, LOCK = "checkpoints", "ids", "log.jsonl", "best", "model", ".lock"
NEEDED = {
    "config.train.precision": str, "config.train.n_steps": int, "data.n_tokens": int, "rng.ranks": list,
    "extra.best_loss": int | float | None, "optimizer": dict,
    "config.batch_size": int, "config.model.context_length": int,
}  # fmt: skip


def _require_usable(state: checkpoint.RunState) -> None:
    """ValueError: the run cannot go on from there, because of a field that it names."""
    for name, kind in NEEDED.items():
        value: Any = vars(state)
        for key in name.split("."):
            value = value.get(key, ...) if isinstance(value, dict) else ...
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int | float) and value < 0):
            raise ValueError(f"{name} is {'missing' if value is ... else repr(value):.50}")
    expected = state.step * state.config["batch_size"] * state.config["model"]["context_length"]
    if state.data["n_tokens"] != expected:
        raise ValueError(f"data.n_tokens is {state.data['n_tokens']}, expected {expected} after {state.step} updates")
    if state.step and not state.optimizer["state"]:
        raise ValueError(f"optimizer has no moments, expected some after {state.step} updates")


def traces(out: Path) -> Iterator[tuple[Path, int]]:
    """What a run leaves beside its checkpoints, and how many updates each speaks of."""
    yield out / LOG, sum(line["kind"] == "update" for line in read_lines(out / LOG))
    for path in (out / BEST, out / FINAL):
        with suppress(checkpoint.CheckpointError, LookupError):
            yield path, checkpoint.load_model(path).extra["step"]


@contextmanager
def locked(out: Path, also: Path | None = None) -> Iterator[None]:
    """The run's folders, made where they are missing, for this process alone; a killed process leaves them free.

    Their parents are not made: a drive that has gone must not come back as a folder.

    ValueError: one cannot be made or written (of `also`: its lock), another run is using it, or `also` is inside `out`.
    """
    if also and Path(os.path.realpath(also)).is_relative_to(os.path.realpath(out)):  # `resolve` fails on a loop
        raise ValueError(
            f"--also: {also} is inside --out {out}, which has its checkpoints already: choose a folder on another drive"
        )
    with ExitStack() as files:
        for option, folder in (("--out", out), *([("--also", also)] if also else [])):
            try:
                folder.mkdir(exist_ok=True)
                lock = files.enter_context(open(folder / LOCK, "a+", opener=_not_through_a_link))
                with suppress(OSError):  # a network drive that knows no locks
                    _hold(lock, option, folder)
            except OSError as error:
                if folder == also and not (os.path.lexists(also / LOCK) and os.access(also, os.W_OK)):
                    continue  # of other trouble it is warned where checkpoints are looked for and saved
                parent = folder.absolute().parent
                raise ValueError(
                    f"{option}: {folder} cannot be written ({error}): choose another folder"
                    if parent.exists()
                    else f"{option}: {folder} cannot be made, {parent} is not there: mount the drive, or make it first"
                ) from error
        yield


def _not_through_a_link(path: str, flags: int) -> int:
    """A folder from elsewhere may hold one, which would make a file where it leads."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


def _hold(file: IO, option: str, folder: Path) -> None:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"{option}: another run is writing to {folder}: wait for it, stop it, or choose another folder"
        ) from error


class Checkpoints:
    """Where a run's checkpoints are. A folder that fails is warned of, and the others do its work.

    out   of the run; its checkpoints are in a folder inside
    also  a second folder, or None; its parent must be there, which tells a drive that has gone
    """

    def __init__(self, out: Path, also: Path | None) -> None:
        self.folders = [out / CHECKPOINTS, *([also] if also else [])]
        self._newest: dict[Path, tuple[int, dict[str, Any]]] = {}  # step and config of each folder's newest good one
        self._drives = {folder: drive(folder) or drive(folder.parent) for folder in self.folders}

    def newest(self) -> checkpoint.Found | None:
        """The newest good checkpoint of all folders; None where none was ever made, as far as can be seen.

        A folder that cannot be reached now is left alone to the end: it may come back with another run's checkpoints.

        ValueError: there are checkpoints and none is good; no folder can be reached.
        """
        newest, n_refused = None, 0
        for folder in tuple(self.folders):
            try:
                found = checkpoint.find(folder, check=_require_usable)
            except StorageError as error:
                self.folders.remove(folder)
                warn(f"{error}. The run goes on without {folder}; if its checkpoints are there, stop it and mount")
                continue
            for path, reason in found.refused:
                warn(f"{path} is passed over: {reason}")
            n_refused += len(found.refused)
            if found.state:
                self._newest[folder] = found.state.step, found.state.config
            if found.state and (newest is None or found.state.step > newest.state.step):
                newest = found
        if not self.folders:
            raise ValueError("no folder for checkpoints can be reached: mount the drive, or choose another")
        if newest is None and n_refused:
            raise ValueError(
                f"no good checkpoint under {', '.join(map(str, self.folders))} to go on from, {n_refused} refused: "
                "put a good copy there, or remove the folder to begin anew"
            )
        return newest

    def require_ours(self, config: dict[str, Any]) -> None:
        """ValueError: the newest checkpoint of a folder is of another run than `config`, and would be pushed out."""
        for folder, (_, there) in self._newest.items():
            if other := differences(there, config):
                raise ValueError(
                    f"{folder} is of another run; what differs: {'; '.join(other)}. "
                    "Choose another folder, or that run's settings and texts"
                )

    def catch_up(self, newest: checkpoint.RunState, keep: int) -> None:
        """Save the newest one to the folders that are behind: a drive that was away for a while, a new disk."""
        for folder in self.folders:
            if folder not in self._newest or self._newest[folder][0] < newest.step:
                self._save_to(folder, newest, keep)

    def save(self, state: checkpoint.RunState, keep: int) -> bool:
        """Save to every folder; whether at least one has it now."""
        return any([self._save_to(folder, state, keep) for folder in self.folders])

    def _save_to(self, folder: Path, state: checkpoint.RunState, keep: int) -> bool:
        try:
            self._look_first(folder, state)
            checkpoint.save(folder, state, keep=keep)
            return True
        except checkpoint.CheckpointError as error:
            here = False
            with suppress(checkpoint.CheckpointError):  # the error may be about older ones
                checkpoint.verify(folder / f"step-{state.step:08d}")
                here = True
            what = "was saved, but with trouble" if here else f"was not saved to {folder}"
            warn(f"step {state.step} {what}: {error}. Training goes on")
            return here

    def _look_first(self, folder: Path, state: checkpoint.RunState) -> None:
        """StorageError: since the run began, a drive has gone and left the folder in which it was mounted, or has
        brought checkpoints of another run, which would be pruned."""
        there = drive(folder) or drive(folder.parent)
        self._drives[folder] = self._drives[folder] or there
        if there not in (None, self._drives[folder]) and not _has_steps(folder):
            raise StorageError(f"{folder} is on another drive than when the run began: mount that one again")
        if folder not in self._newest:
            found = checkpoint.find(folder)
            if found.state and (other := differences(found.state.config, state.config)):
                raise StorageError(f"{folder} holds checkpoints of another run ({'; '.join(other)})")
            self._newest[folder] = state.step, state.config


def _has_steps(folder: Path) -> bool:
    """Whether checkpoints can be seen in a folder; not where its mount has died."""
    with suppress(OSError):
        return any(folder.glob("step-*"))
    return False


def drive(folder: Path) -> int | None:
    """The number of the drive that a folder is on; None where it is not there."""
    with suppress(OSError):
        return folder.stat().st_dev
    return None


def machine(device: torch.device) -> dict[str, Any]:
    """What decides the last bits of a sum, beside torch's version; a checkpoint keeps it."""
    on_gpu = device.type == "cuda"
    kind = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {"threads": torch.get_num_threads(), "device": device.type, "processor": kind}


def differences_of_machines(state: checkpoint.RunState, device: torch.device) -> list[str]:
    """Of the one that saved and this one: "threads 2, now 3"; what an older checkpoint does not say is none."""
    before = state.versions | state.extra
    now = {"torch": checkpoint.current_versions()["torch"]} | machine(device)
    return [f"{name} {before[name]}, now {here}" for name, here in now.items() if before.get(name, here) != here]
