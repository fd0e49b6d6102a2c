"""The ablation: one GPT trained ever faster, one change a step, each step in fresh processes and checked; its record.

A record has a row for each step, the machine, the settings; it is written as JSON and read again.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from helpers import runtime
from helpers.gpt import GPTConfig, require_whole
from helpers.labs.budget import matmul_flops_per_token, readable_bytes
from helpers.labs.speed.harness import Report, Round, ratio, run, run_rounds, text_table, write_json
from helpers.labs.speed.machine import check_device, facts, gpu_peak
from helpers.labs.speed.update import GPU_ONLY, STEPS
from helpers.language import spoken, t
from helpers.storage import read_json

UPDATE, PEAK = "helpers.labs.speed.update:measure_update", "helpers.labs.speed.machine:cpu_peak"
BACKWARD_TOO = 3  # FLOPs of an update over those of its forward pass
# By precision of the matmuls: how far a loss, and a gradient norm, may be from the first step's, as a share. A loss is
# a mean over many tokens, whose roundings cancel; a missing mask moves the norms by a fifth and more, a missing scale
# doubles one.
TOLERANCES = {"float32": (1e-5, 1e-3), "tf32": (5e-4, 1e-2), "float16": (5e-4, 1e-2), "bfloat16": (1e-3, 3e-2)}
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
    precision: str | None = None  # of the matmuls: float32, tf32, bfloat16 or float16
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
        chip, threads = self.machine["chip"], runtime.threads_in_words(self.machine["threads"])
        return chip if self.machine["device"] == "cuda" else f"{chip}, {threads}"

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
    def read(cls, path: str | Path) -> "Record":
        """What `write` stored. FileNotFoundError: nothing there. ValueError: a file of another kind, or damaged."""
        path = Path(path)
        try:
            content = read_json(path)
            rows = tuple(Row(**row | {"losses": tuple(row["losses"])}) for row in content["rows"])
            record = cls(*(dict(content[name]) for name in ("machine", "settings", "peaks")), rows)
            _ = record.caption, record.cells()  # every number that is shown is there
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path.name} is no record that Record.write made, or a damaged one ({error!r}): measure again, or "
                "take another copy"
            ) from error
        return record


def ablate(
    config: GPTConfig,
    batch_size: int,
    context_length: int | None = None,
    steps: Iterable[str] | None = None,
    *,
    device: str | None = None,
    updates: int = 5,
    rounds: int = 1,
    threads: int | None = None,
    measure_peaks: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Record:
    """Train `config` at each step in a process of its own and report how fast it went; nothing is printed.

    config          its drop_rate is taken as 0
    batch_size      B, sequences of a batch; twice as many in the step "larger-batch"
    context_length  T, tokens in a sequence; None: the config's
    steps           names in STEPS, in any order; None: all that mean something on the device
    device          "cpu" or "cuda"; None: the GPU where there is one
    updates         timed updates per process
    rounds          times that every step is measured, A B C, A B C
    threads         CPU threads; None: as `runtime.start` has them
    measure_peaks   on a CPU, measure its peak in a process for each precision; otherwise share_of_peak is None there
    tell            called with a line before each process starts

    A step that cannot run is in the record with its reason, and its change is left out of the later ones; one that ran
    out of memory keeps its change there. Steps whose first updates differ from the first step's by more than rounding
    have `agrees` False.

    ValueError: an unknown step, a size below 1, a context longer than the config's, or a device that is not there.
    """
    device = device or runtime.pick_device().type
    check_device(device)
    names, threads = in_order(steps, device), runtime.threads_in_use() if threads is None else threads
    settings = {
        "batch_size": batch_size,
        "larger_batch": 2 * batch_size,
        "context_length": config.context_length if context_length is None else context_length,
        "updates": updates,
        "rounds": rounds,
    }
    require_whole(**settings, threads=threads)
    config, threads = replace(config, drop_rate=0.0), int(threads)
    settings = {"config": asdict(config)} | {name: int(size) for name, size in settings.items()}  # as JSON knows them
    if settings["context_length"] > config.context_length:
        raise ValueError(f"context_length {context_length} exceeds the model's, {config.context_length}")
    found = _measure(names, settings, device, threads, tell or (lambda line: None))
    peaks = _peaks(found[0], device, rounds if measure_peaks else 0, threads)
    machine = next((report["machine"] for report in found[0].values() if "machine" in report), facts("cpu"))
    return Record(machine | {"device": device, "threads": threads}, settings, peaks, rows_of(found, settings, peaks))


def in_order(names: Iterable[str] | None, device: str) -> tuple[str, ...]:
    """The chosen steps from the baseline on, as for `ablate`. ValueError: an unknown name, or no name."""
    if names is None:
        return tuple(name for name in STEPS if device == "cuda" or name not in GPU_ONLY)
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in STEPS]
    if unknown or not names:
        raise ValueError(f"steps are {', '.join(STEPS)}; got {', '.join(map(repr, unknown)) or 'none'}")
    return tuple(name for name in STEPS if name in names)


def _measure(
    names: Sequence[str], settings: dict, device: str, threads: int, tell: Callable[[str], None]
) -> list[Round]:
    """The reports of every round. The first decides which changes are kept, and which steps are measured again."""
    sent = {name: settings[name] for name in ("config", "batch_size", "context_length", "updates")}
    first, jobs, kept = {}, {}, []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {"TORCHINDUCTOR_CACHE_DIR": folder}  # compiled once, in the first round
        for name in names:
            timed = settings["larger_batch" if name == "larger-batch" else "batch_size"]
            job = sent | {"changes": [*kept, name], "timed_batch_size": timed, "device": device}
            tell(f"first round: {name}")
            report = first[name] = run(UPDATE, job, threads, environment)
            if report["status"] == "ok":
                jobs[name] = job
            # a change that broke is left out later; one that only ran out of memory may be what the next one mends
            if report["status"] == "ok" or report.get("out_of_memory"):
                kept.append(name)
        return [first, *run_rounds(UPDATE, jobs, settings["rounds"] - 1, threads, tell, environment)]


def _peaks(reports: Round, device: str, times: int, threads: int) -> dict[str, dict]:
    """Precision -> {"flops", "source"} of those that ran and whose peak is known; on a CPU the best of some times."""
    peaks = {}
    for precision, report in {r["precision"]: r for r in reports.values() if "precision" in r}.items():
        if device == "cuda":
            tries = [gpu_peak(report["machine"]["chip"], precision) or {}]
        else:
            tries = [run(PEAK, {"precision": precision}, threads) for _ in range(times)]
        best = max(tries, key=lambda peak: peak.get("flops", 0.0), default={})
        if "flops" in best:
            peaks[precision] = {key: best[key] for key in ("flops", "source")}
    return peaks


def rows_of(rounds: list[Round], settings: dict, peaks: dict[str, dict]) -> tuple[Row, ...]:
    """A Row for each step from the reports of its rounds; of a step that did not run there is one report."""
    flops = BACKWARD_TOO * matmul_flops_per_token(GPTConfig(**settings["config"]), settings["context_length"])
    rows, ran = [], []
    for name in rounds[0]:
        reports = [round_[name] for round_ in rounds if name in round_]
        broken = next((report for report in reports if report["status"] != "ok"), None)
        if broken:
            rows.append(Row(name, broken["status"], broken["reason"], STEPS[name]))
            continue
        ran.append(name)
        precision = reports[0]["precision"]
        speeds = [speed for report in reports for speed in report["speeds"]]
        middle = statistics.median(speeds)
        checks = [compare(report, rounds[0][ran[0]]) for report in reports]
        agrees, words = min(checks, key=lambda check: check[0])  # the first that differs
        row = Row(
            name,
            "ok",
            "",
            STEPS[name],
            precision=precision,
            batch_size=reports[0]["batch_size"],
            tokens_per_s=middle,
            slowest=min(speeds),
            fastest=max(speeds),
            peak_bytes=round(statistics.median(report["peak_bytes"] for report in reports)),
            compile_s=max((report["compile_s"] for report in reports), key=lambda seconds: seconds or 0.0),
            share_of_peak=flops * middle / peaks[precision]["flops"] if precision in peaks else None,
            times_before=ratio(name, "tokens_per_s", ran[-2], rounds)["median"] if len(ran) > 1 else None,
            times_first=ratio(name, "tokens_per_s", ran[0], rounds)["median"],
            agrees=agrees,
            check=FIRST if len(ran) == 1 else words,
            losses=tuple(reports[0]["losses"]),
        )
        rows.append(row)
    return tuple(rows)


def compare(found: Report, first: Report) -> tuple[bool, str]:
    """(whether they agree, the same in words) of two reports, each with precision, losses and grad_norms."""
    allowed = [max(pair) for pair in zip(*(TOLERANCES[report["precision"]] for report in (found, first)), strict=True)]
    off = [_farthest(found[key], first[key]) for key in ("losses", "grad_norms")]
    words = SAME.format(losses=off[0], gradients=off[1])
    if all(o <= limit for o, limit in zip(off, allowed, strict=True)):
        return True, words
    return False, DIFFERS.format(words=words, losses=allowed[0], gradients=allowed[1])


def _farthest(values: Sequence[float], expected: Sequence[float]) -> float:
    """The largest deviation as a share; infinite where one is NaN, where none is, or where they differ in number."""
    if len(values) != len(expected):
        return math.inf
    shares = [abs(value / right - 1) if right else abs(value) for value, right in zip(values, expected, strict=True)]
    return max((share if share == share else math.inf for share in shares), default=math.inf)
