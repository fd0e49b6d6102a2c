"""Records of runs that take long: a command makes one, run by run, and goes on where it was; a notebook reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helpers.labs.speed import machine
from helpers.storage import write_aside

FOLDER = Path(__file__).parents[2] / "notebooks" / "data"


@dataclass(frozen=True)
class Recorded:
    """What is in a record of one kind: JSON with kind, date, machine, protocol, and lists of runs, a run a line."""

    maker: str  # the module of helpers.labs whose command makes it
    kind: str
    protocol: Callable[[], dict[str, Any]]  # what all its runs have in common
    is_whole: Callable[[dict[str, Any]], bool]  # whether the runs can be what the command wrote
    lists: tuple[str, ...] = ("runs",)

    def read(self, path: Path) -> dict[str, Any]:
        """What is stored there.

        FileNotFoundError: nothing. ValueError: no JSON, a record of another kind, or a damaged one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            json.dumps(content, allow_nan=False)  # no number that is none
            if content["kind"] != self.kind or not self.is_whole(content):
                raise ValueError(f"kind {content['kind']!r}, expected {self.kind!r} with runs that are whole")
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path.name} is no record that helpers.labs.{self.maker} made, or a damaged one ({error!r}): take "
                "another copy, or make it again"
            ) from error
        return content

    def open(self, path: Path) -> dict[str, Any]:
        """The same, or one without runs where nothing is there. ValueError: its runs have another protocol."""
        if not path.exists():
            head = {"kind": self.kind, "date": None, "machine": None, "protocol": self.protocol()}
            return head | {name: [] for name in self.lists}
        content = self.read(path)
        if content["protocol"] != self.protocol():
            raise ValueError(f"{path} holds other runs: move it away, or go on with the course that made it")
        return content

    def add(self, path: Path, run: dict[str, Any], part: str = "runs") -> None:
        """Append a run to what is there by now (several processes may share a file), and store it at once."""
        content = self.open(path)
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
