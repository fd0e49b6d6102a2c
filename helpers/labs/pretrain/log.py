"""What a run says on the terminal, and its log: one JSON object a line, kept in step with its checkpoints."""

import codecs
import json
import math
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from helpers.gpt import Evaluation, Record, Update
from helpers.labs.distributed import rank
from helpers.storage import as_path, write_aside

KINDS = {"update": Update, "evaluation": Evaluation}
MAX_LINE = 1 << 16  # characters
SUM = "crc32"  # of a line without it


def say(text: str, stream: IO[str] | None = None) -> None:
    """Progress, on standard output, from rank 0 alone."""
    if rank() == 0:
        stream = stream or sys.stdout
        # a progress bar steps aside; where the disk behind it is full, or nobody reads any more, the run goes on
        with suppress(OSError), tqdm.external_write_mode(file=stream):
            print(text, file=stream, flush=True)


def complain(text: str) -> None:
    """The same on standard error."""
    say(text, sys.stderr)


def warn(text: str) -> None:
    complain(f"warning: {text}")


class Log:
    """Appends to log.jsonl. Lines that cannot be written, because a drive has gone, are kept until it is back.

    step       the checkpoint that the run goes on from; what stands in the file of a later time is dropped
    evaluated  the evaluation of that step will not be repeated: it stays
    last_loss  of the update before the checkpoint, as that has it, where it is known: by it the log is this run's

    ValueError: the file cannot be written now, or is another run's.
    """

    def __init__(self, path: Path, step: int, evaluated: bool, last_loss: float | None) -> None:
        self.path = path
        try:
            # a last line without an end is what a kill leaves, and is none
            n_whole = path.read_bytes().count(b"\n") if path.is_file() else 0
            n_damaged = n_whole - sum(1 for _ in read_lines(path))
            kept = rewind(path, step, evaluated, last_loss)
            self._size = path.stat().st_size
        except OSError as error:
            raise ValueError(f"--out: {path} cannot be written ({error}): choose another folder") from error
        self.seconds = kept[-1]["seconds"] if kept else 0.0  # that the run had taken until then
        self.last_loss = last_loss
        self._waiting = b""
        if n_damaged > 0:
            warn(f"{path.name}: damaged or repeated lines, left out: {n_damaged}")
        n_updates = sum(line["kind"] == "update" for line in kept)
        if n_updates < step:
            warn(f"{path.name} knows {n_updates} of {step} updates: it was lost, or belongs to another folder")

    def write(self, record: Record, seconds: float) -> None:
        """Append a record, with the seconds that the run has taken so far, resumptions added up."""
        self.last_loss = record.loss_nats if isinstance(record, Update) else self.last_loss
        kind = next(name for name, cls in KINDS.items() if isinstance(record, cls))
        values = {key: value for key, value in asdict(record).items() if value is not None and value is not False}
        failing = bool(self._waiting)
        self._waiting += _signed({"kind": kind, **values, "seconds": round(seconds, 2)})
        if self._size and not self.path.exists():
            warn(f"{self.path} was gone, with the lines before this one")
            self._size = 0
        try:
            with open(self.path, "ab") as file:  # anew for each record: a file that was deleted is begun again
                file.truncate(min(self._size, file.tell()))  # half a line of an attempt that failed
                file.write(self._waiting)
                file.flush()
                self._size = file.tell()
            self._waiting = b""
        except OSError as error:
            if not failing:
                warn(f"{self.path} cannot be written ({error.strerror}). Training goes on")

    def sync(self) -> None:
        """Wait until the disk has it: a checkpoint must not be younger than the log."""
        with suppress(OSError), open(self.path, "r+b") as file:
            os.fsync(file.fileno())


def rewind(path: Path, step: int, evaluated: bool = False, last_loss: float | None = None) -> list[dict[str, Any]]:
    """Drop what the run did after the checkpoint of `step`, and return the lines that stay. ValueError: as for Log."""
    kept = [
        line
        for line in read_lines(path)
        if line["step"] < step or (evaluated and line["step"] == step and line["kind"] == "evaluation")
    ]
    losses = {line["loss_nats"] for line in kept if (line["kind"], line["step"]) == ("update", step - 1)}
    if last_loss is not None and (others := losses - {last_loss}):
        raise ValueError(
            f"{path} is not this run's log: its update {step - 1} has a loss of {others.pop()}, the checkpoint's "
            f"{last_loss}. Put the own one there, or move this one away"
        )
    with write_aside(path) as file:
        file.writelines(map(_signed, kept))
    return kept


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, each update and each evaluation once; what is no record, or not the one that was written, is
    left out. ValueError: unreadable."""
    if not as_path(path).is_file():
        return
    seen = set()
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:  # an editor may have put its mark before it
            if file.buffer.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise OSError("it is UTF-16: save it as UTF-8")
            for text in iter(lambda: file.readline(MAX_LINE), ""):  # of a longer one no part is a record
                with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
                    line = json.loads(text)
                    record, known = _record(line), line.pop(SUM, None)
                    if known not in (None, zlib.crc32(json.dumps(line).encode())):  # None: of an older edition
                        continue
                    whole = all(isinstance(getattr(record, field.name), field.type) for field in fields(record))
                    finite = math.isfinite(record.step + record.loss_nats + line["seconds"])
                    if whole and finite and (what := (line["kind"], line["step"])) not in seen:
                        seen.add(what)
                        yield line
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): choose another folder") from error


def read_log(path: str | Path) -> list[Record]:
    """The records of a run's log, as the loop yielded them."""
    return [_record(line) for line in read_lines(path)]


def _record(line: dict[str, Any]) -> Record:
    return KINDS[line["kind"]](**{k: value for k, value in line.items() if k not in ("kind", "seconds", SUM)})


def _signed(line: dict[str, Any]) -> bytes:
    """A line as it stands in the file: a digit that a disk has turned into another one is noticed."""
    return json.dumps(line | {SUM: zlib.crc32(json.dumps(line).encode())}).encode("ascii") + b"\n"
