"""The log of a run: one JSON object a line, kept in step with its checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers.train import Evaluation, Record, Update

KINDS = {"update": Update, "evaluation": Evaluation}


def write_line(file, record: Record, seconds: float) -> None:
    """Append a record, with the seconds that the run has taken so far, resumptions added up."""
    kind = next(name for name, cls in KINDS.items() if isinstance(record, cls))
    values = {key: value for key, value in asdict(record).items() if value is not None and value is not False}
    print(json.dumps({"kind": kind, **values, "seconds": round(seconds, 2)}), file=file, flush=True)


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; one that was cut off by a kill ends it."""
    if not Path(path).exists():
        return
    with open(path, encoding="utf-8") as file:
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


def rewind(path: Path, step: int) -> float:
    """Drop what the run did after the checkpoint of `step`, and return the seconds that it had taken until then."""
    kept = [line for line in read_lines(path) if line["step"] < step]
    unfinished = path.with_name(f".{path.name}.unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    return kept[-1]["seconds"] if kept else 0.0
