"""Records of runs that take long: a command makes one, run by run, and goes on where it was; a notebook reads it."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from helpers import runtime
from helpers.labs.speed import machine
from helpers.storage import as_path, read_json, write_aside

FOLDER = Path(__file__).parents[2] / "notebooks" / "data"


@dataclass(frozen=True)
class Recorded:
    """What is in a record of one kind: JSON with kind, date, machine, protocol, and lists of runs, a run a line."""

    maker: str  # the module of helpers.labs whose command makes it
    path: Path  # where the course has it
    kind: str
    protocol: Callable[[], dict[str, Any]]  # what all its runs have in common
    measured: tuple[str, ...]  # the numbers of a run, or lists of them
    fields: Mapping[str, type] | None = None  # of a run's setting; None: they stand together, as its "setting"
    lists: tuple[str, ...] = ("runs",)

    def read(self, path: Path | None = None) -> dict[str, Any]:
        """What is stored there; None: in the course's own.

        FileNotFoundError: nothing. ValueError: no JSON, a record of another kind, or a damaged one.
        """
        path = as_path(path or self.path)
        try:
            content = read_json(path)
            whole = all(isinstance(content[part], dict) and content[part] for part in ("machine", "protocol"))
            whole = whole and all(isinstance(content[name], list) for name in self.lists)
            whole = whole and all(self._is_whole(run) for name in self.lists for run in content[name])
            if content["kind"] != self.kind or not whole or len(self.done(content)) != len(content["runs"]):
                raise ValueError(f"kind {content['kind']!r}, expected {self.kind!r} with runs that are whole")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path.name} is no record that helpers.labs.{self.maker} made, or a damaged one ({error!r}): take "
                "another copy, or make it again"
            ) from error
        return content

    def _is_whole(self, run: dict[str, Any]) -> bool:
        """Whether all that a run has is there, and of its kind."""
        setting = all(isinstance(run[name], kind) for name, kind in (self.fields or {"setting": list}).items())
        values = [v for name in self.measured for v in (run[name] if isinstance(run[name], list) else [run[name]])]
        return setting and all(isinstance(value, Real) for value in values)

    def open(self, path: Path) -> dict[str, Any]:
        """The same, or one without runs where nothing is there. ValueError: its runs have another protocol."""
        if not path.exists():
            head = {"kind": self.kind, "date": None, "machine": None, "protocol": self.protocol()}
            return head | {name: [] for name in self.lists}
        content = self.read(path)
        if content["protocol"] != self.protocol():
            raise ValueError(f"{path} holds other runs: move it away, or go on with the course that made it")
        return content

    def done(self, content: dict[str, Any]) -> set[tuple]:
        """The settings of its runs; two runs of one setting are the same run."""
        runs = content["runs"]
        return {tuple(run[name] for name in self.fields) if self.fields else tuple(run["setting"]) for run in runs}

    def fill(self, path: Path, settings: Iterable[tuple], run_of: Callable[[Any], dict[str, Any]]) -> None:
        """Make every run that `path` does not have yet, and store each at once. ValueError: the file is of other runs.

        Several processes may share a file: each looks after a run what is there by then.
        """
        done = self.done(self.open(path))
        for setting in settings:
            if setting not in done:
                self.add(path, run_of(setting))
                done = self.done(self.open(path))

    def add(self, path: Path, run: dict[str, Any], part: str = "runs") -> None:
        """Append a run to what is there by now, and store it at once; not a run of a setting that is there."""
        with FileLock(path.with_name(f".{path.name}.lock")):  # what another process adds meanwhile is not lost
            content = self.open(path)
            if part == "runs" and self.done({"runs": [run]}) <= self.done(content):
                return
            content[part].append(run)
            content |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine.facts("cpu")}
            with write_aside(path) as file:
                file.write(self._as_text(content).encode())
        print(f"{part} {len(content[part])}: {run}", flush=True)

    def _as_text(self, content: dict[str, Any]) -> str:
        head = {name: part for name, part in content.items() if name not in self.lists}
        text = json.dumps(head, indent=1)[:-2]
        for name in self.lists:
            text += f',\n "{name}": [\n  ' + ",\n  ".join(json.dumps(run) for run in content[name]) + "\n ]"
        return text + "\n}\n"


def command(maker: str, path: Path, record: Callable[[Path], None], n_threads: int | None = None) -> None:
    """`python -m helpers.labs.MAKER`: make the record, or what lacks of it."""
    says = "Make the record, or what lacks of it."
    parser = argparse.ArgumentParser(prog=f"python -m helpers.labs.{maker}", description=says)
    parser.add_argument("--output", type=Path, default=path, help="the record; an unfinished one is gone on with")
    options = parser.parse_args()
    runtime.start(seed=0)
    if n_threads:
        torch.set_num_threads(n_threads)
    try:
        record(options.output)
    except (ValueError, OSError) as error:
        parser.error(str(error))
