"""The log of a run: one JSON object a line, kept in step with its checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from helpers.gpt import Evaluation, Record, Update
from helpers.labs.pretrain._console import Console

KINDS = {"update": Update, "evaluation": Evaluation}


class Log:
    """Appends to log.jsonl. Lines that cannot be written, because a drive has gone, are kept until it is back.

    step  the checkpoint that the run goes on from; what stands in the file of a later time is dropped

    ValueError: the file cannot be written now.
    """

    def __init__(self, path: Path, step: int, console: Console) -> None:
        self.path, self.console = path, console
        try:
            kept = rewind(path, step)
            self._size = path.stat().st_size
        except OSError as error:
            raise ValueError(f"--out: {path} cannot be written ({error.strerror}): choose another folder") from error
        self.seconds = kept[-1]["seconds"] if kept else 0.0  # that the run had taken until then
        self._waiting = b""
        self._failing = False
        n_updates = sum(line["kind"] == "update" for line in kept)
        if n_updates < step:
            console.warn(f"{path.name} knows {n_updates} of {step} updates: it was lost, or belongs to another folder")

    def write(self, record: Record, seconds: float) -> None:
        """Append a record, with the seconds that the run has taken so far, resumptions added up."""
        kind = next(name for name, cls in KINDS.items() if isinstance(record, cls))
        values = {key: value for key, value in asdict(record).items() if value is not None and value is not False}
        self._waiting += json.dumps({"kind": kind, **values, "seconds": round(seconds, 2)}).encode("ascii") + b"\n"
        try:
            self._append()
            self._failing = False
        except OSError as error:
            if not self._failing:
                self.console.warn(f"{self.path} cannot be written ({error.strerror}). Training goes on", "log")
            self._failing = True

    def _append(self) -> None:
        with self._open() as file:
            file.truncate(min(self._size, file.seek(0, os.SEEK_END)))  # half a line of an attempt that failed
            self._size = file.seek(0, os.SEEK_END)
            file.write(self._waiting)
            file.flush()
        self._size, self._waiting = self._size + len(self._waiting), b""

    def _open(self) -> IO[bytes]:
        """The file, opened anew for each record: one that was deleted is noticed, and made where its folder stands."""
        try:
            return open(self.path, "r+b")
        except FileNotFoundError:
            file = open(self.path, "x+b")  # noqa: SIM115, the caller's
            self.console.warn(f"{self.path} was gone with the lines before this one; a new one is begun", "log")
            return file

    def sync(self) -> None:
        """Wait until the disk has it: a checkpoint must not be younger than the log."""
        with suppress(OSError), open(self.path, "r+b") as file:
            os.fsync(file.fileno())


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; one that was cut off by a kill ends it."""
    if not Path(path).exists():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


def read_log(path: str | Path) -> list[Record]:
    """The records of a run's log, as the loop yielded them."""
    records = []
    for values in read_lines(path):
        kind = KINDS[values.pop("kind")]
        values.pop("seconds", None)
        records.append(kind(**values))
    return records


def rewind(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop what the run did after the checkpoint of `step`, and return the lines that stay; 0 empties the log."""
    kept = [line for line in read_lines(path) if line["step"] < step]
    unfinished = path.with_name(f".{path.name}.unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    return kept
