"""What an ablation leaves: a row for each step, the machine, the settings; written as JSON and read again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helpers.labs.budget import readable_bytes
from helpers.labs.speed.harness import text_table, write_json
from helpers.language import spoken, t

COLUMNS = ("step", "tokens/s", "spread", "× before", "× first", "peak memory", "share of peak", "same result")
SAME = "losses to {losses:.0e}, gradients to {gradients:.0e}"  # the check's words
DIFFERS = "DIFFERS: {words}; allowed {losses:.0e} and {gradients:.0e}"
FIRST = "the first"
NOTE = (
    "tokens/s: median of the timed updates (slowest to fastest). Ratios are taken within a round. Peak memory: on a "
    "CPU resident above the imports, on a GPU its allocator's. Share of peak: budget's FLOPs at that speed."
)


@dataclass(frozen=True)
class Row:
    """A step as it was measured; None where it has no numbers. Ratios are medians of ratios within a round."""

    name: str
    status: str  # "ok", "skipped" (the machine lacks something) or "failed" (it broke, or memory ran out)
    reason: str  # why it is not "ok"; otherwise empty
    says: str  # what the step changes
    precision: str | None = None  # of the matrix products: float32, tf32, bfloat16 or float16
    batch_size: int | None = None  # sequences while the clock ran
    tokens_per_s: float | None = None
    slowest: float | None = None
    fastest: float | None = None
    peak_bytes: int | None = None  # on a CPU resident above what the imports took, on a GPU by torch's allocator
    compile_s: float | None = None  # that compiling took, outside the clock
    share_of_peak: float | None = None  # FLOPs per second over the chip's peak in this precision
    times_before: float | None = None  # tokens/s over that of the last earlier step that ran
    times_first: float | None = None
    agrees: bool | None = None  # losses and gradients of the first updates are the first step's, within rounding
    check: str = ""  # the same in words, with the deviation
    losses: tuple[float, ...] = ()  # nats per token of those updates

    @property
    def label(self) -> str:
        """The name, and for half precision which of the two it was."""
        return f"{self.name} ({self.precision})" if self.name == "half" and self.precision else self.name

    def cells(self) -> list[str]:
        """A line of a table under COLUMNS."""
        if self.status != "ok":
            return [self.label, self.status, self.reason, "", "", "", "", ""]
        return [
            self.label,
            f"{self.tokens_per_s:,.0f}",
            t("{slowest:,.0f} to {fastest:,.0f}", slowest=self.slowest, fastest=self.fastest),
            "" if self.times_before is None else f"{self.times_before:.2f}",
            f"{self.times_first:.2f}",
            readable_bytes(self.peak_bytes),
            t("not known") if self.share_of_peak is None else f"{self.share_of_peak:.1%}",
            spoken(self.check),
        ]


@dataclass(frozen=True)
class Record:
    """An ablation.

    machine   device, chip, cores, threads, and more of `machine.facts`
    settings  config (fields of GPTConfig), batch_size, larger_batch, context_length, updates, rounds
    peaks     precision -> {"flops", "source"}, of the precisions that ran and whose peak is known
    rows      a Row for each step, from the baseline on
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    peaks: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]

    @property
    def label(self) -> str:
        """The machine in a few words."""
        chip = self.machine["chip"]
        return chip if self.machine["device"] == "cuda" else f"{chip}, {t('{n} threads', n=self.machine['threads'])}"

    @property
    def caption(self) -> str:
        """The machine, the model's size and how it was measured."""
        how, config = self.settings, self.settings["config"]
        return t(
            "{label}: {n_layers} layers of width {emb_dim}, vocabulary {vocab_size:,}, batch {batch_size} × "
            "{context_length}; {rounds} × {updates} updates, a fresh process each",
            **({"label": self.label} | config | how),
        )

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows that have numbers."""
        return tuple(row for row in self.rows if row.status == "ok")

    def cells(self) -> list[list[str]]:
        """Lines of a table under COLUMNS."""
        return [row.cells() for row in self.rows]

    def __str__(self) -> str:
        return "\n\n".join([self.caption, text_table(COLUMNS, self.cells()), NOTE])

    def write(self, path: str | Path) -> Path:
        """Store it as JSON. No path, host name or date is in it."""
        return write_json(path, asdict(self))

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """What `write` stored. FileNotFoundError: nothing there. ValueError: a file of another kind, or damaged."""
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = tuple(Row(**row | {"losses": tuple(row["losses"])}) for row in content["rows"])
            record = cls(*(dict(content[name]) for name in ("machine", "settings", "peaks")), rows)
            _ = record.caption, record.cells()  # every number that is shown is there
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path.name} is no record that Record.write made, or a damaged one ({error!r}): measure again, or "
                "take another copy"
            ) from error
        return record
