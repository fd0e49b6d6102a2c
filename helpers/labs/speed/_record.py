"""What a climb leaves: a row for each rung, the machine, the settings; written as JSON and read again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helpers.labs.budget import readable_bytes
from helpers.labs.speed._rungs import RUNGS

KIND, VERSION = "ladder of training speed", 1
STATUSES = ("ok", "skipped", "failed")
NOTE = (
    "tokens/s: median of the timed updates (slowest to fastest). Ratios are taken within a round. Peak memory: on a "
    "CPU resident above the imports, on a card its allocator's. Share of peak: budget's FLOPs at that speed."
)


@dataclass(frozen=True)
class Row:
    """A rung as it was measured; what a rung without numbers could not say is None.

    name           of the rung
    status         "ok", "skipped" (the machine lacks something) or "failed" (it broke, or memory ran out)
    reason         why it is not "ok"; otherwise empty
    says           what the rung changes
    precision      of the matrix products: float32, tf32, bfloat16 or float16
    batch_size     rows in a batch while the clock ran
    tokens_per_s   median over the timed updates of all rounds; slowest, fastest: the least and the most of them
    peak_bytes     most memory: on a CPU resident above what the imports took, on a card by torch's allocator
    compile_s      seconds that compiling took, outside the clock; None where nothing is compiled
    share_of_peak  FLOPs per second over the chip's peak in this precision; None where that is not known
    times_before, times_first  tokens/s over that of the rung before it and of the first, median of ratios within a
                   round; "before" is the last rung below that ran
    agrees         whether losses and gradients of the first updates are those of the first rung, within rounding
    check          the same in words, with the deviation
    losses         nats per token of those updates
    """

    name: str
    status: str
    reason: str
    says: str
    precision: str | None = None
    batch_size: int | None = None
    tokens_per_s: float | None = None
    slowest: float | None = None
    fastest: float | None = None
    peak_bytes: int | None = None
    compile_s: float | None = None
    share_of_peak: float | None = None
    times_before: float | None = None
    times_first: float | None = None
    agrees: bool | None = None
    check: str = ""
    losses: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The name, and for half precision which of the two it was."""
        return f"{self.name} ({self.precision})" if self.name == "half" and self.precision else self.name


@dataclass(frozen=True)
class Record:
    """A climb.

    machine   device, chip, cores, threads, card's memory, memory_limit_gib, system, python, torch
    settings  config (fields of GPTConfig), batch_size, larger_batch, context_length, updates, warmup, rounds
    peaks     precision -> {"flops", "source"}, of the precisions that ran and whose peak is known
    rows      a Row for each rung, from the foot upwards
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    peaks: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]

    @property
    def label(self) -> str:
        """The machine in a few words; a limit that emulates a smaller card is named."""
        chip, limit = self.machine["chip"], self.machine["memory_limit_gib"]
        words = chip if self.machine["device"] == "cuda" else f"{chip}, {self.machine['threads']} threads"
        return words if limit is None else f"{words}, memory limited to {limit:g} GiB"

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that have numbers."""
        return tuple(row for row in self.rows if row.status == "ok")

    def row(self, name: str) -> Row:
        """The row of a rung. ValueError: it was not climbed."""
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"no rung {name!r} in this record; it has {', '.join(row.name for row in self.rows)}")

    def table(self, caption: str = "") -> object:
        """A line for each rung for the page; its plain text is what `str` gives. No caption: the machine and sizes."""
        columns = ["rung", "tokens/s", "spread", "× before", "× first", "peak memory", "share of peak", "same result"]
        from helpers.classroom import pages  # TODO: a room above

        return pages.table(
            [_cells(row) for row in self.rows], columns, caption or f"{self.label}: {_sizes(self.settings)}"
        )

    def __str__(self) -> str:
        rows = [("rung", "tokens/s", "spread", "× before", "× first", "peak", "of peak", "same result")]
        rows += [tuple(map(str, _cells(row))) for row in self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([f"{self.label}: {_sizes(self.settings)}", "", *lines, "", NOTE])

    def write(self, path: str | Path) -> Path:
        """Store it as JSON; folders that lack are made. No path, host name or date is in it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"kind": KIND, "version": VERSION} | asdict(self)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """What `write` stored. FileNotFoundError: nothing there.

        ValueError: another kind of file, another version, or a damaged one; the message says which.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path.name} is no JSON, expected a record that Record.write made: {error}") from error
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ValueError(f'{path.name}: expected a file of the kind "{KIND}", which Record.write makes')
        if content.get("version") != VERSION:
            raise ValueError(f"{path.name}: expected version {VERSION}, got {content.get('version')!r}: measure again")
        try:
            return _from(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path.name} is damaged ({error}): measure again, or take another copy") from error


def _from(content: dict) -> Record:
    machine, settings, peaks = (dict(content[name]) for name in ("machine", "settings", "peaks"))
    for name in ("device", "chip", "threads", "memory_limit_gib"):
        _ = machine[name]
    rows = tuple(Row(**row | {"losses": tuple(row["losses"])}) for row in content["rows"])
    if not rows:
        raise ValueError("no rung")
    for row in rows:
        if row.name not in RUNGS or row.status not in STATUSES:
            raise ValueError(f"rung {row.name!r} with status {row.status!r}")
        if row.status == "ok" and any(getattr(row, name) is None for name in NEEDED):
            raise ValueError(f"rung {row.name!r} lacks a number")
    _sizes(settings)
    return Record(machine, settings, peaks, rows)


NEEDED = ("tokens_per_s", "slowest", "fastest", "peak_bytes", "times_first", "batch_size", "precision", "agrees")


def _sizes(settings: dict) -> str:
    config = settings["config"]
    return (
        f"{config['n_layers']} layers of width {config['emb_dim']}, vocabulary {config['vocab_size']:,}, batch "
        f"{settings['batch_size']} × {settings['context_length']}; {settings['rounds']} × {settings['updates']} "
        f"updates after {settings['warmup']}, a fresh process each"
    )


def _cells(row: Row) -> list[str]:
    if row.status != "ok":
        return [row.label, row.status, row.reason, "", "", "", "", ""]
    before = "" if row.times_before is None else f"{row.times_before:.2f}"
    share = "not known" if row.share_of_peak is None else f"{row.share_of_peak:.1%}"
    return [
        row.label,
        f"{row.tokens_per_s:,.0f}",
        f"{row.slowest:,.0f} to {row.fastest:,.0f}",
        before,
        f"{row.times_first:.2f}",
        readable_bytes(row.peak_bytes),
        share,
        row.check,
    ]
