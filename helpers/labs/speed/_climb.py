"""The climb: the chosen rungs in rounds of fresh processes, and from their reports a record."""

from __future__ import annotations

import math
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial

import torch

from helpers import runtime
from helpers.gpt import GPTConfig
from helpers.labs.budget import matmul_flops_per_token
from helpers.labs.measuring.device import check_device
from helpers.labs.measuring.processes import run_worker
from helpers.labs.speed._check import compare
from helpers.labs.speed._peaks import card_peak
from helpers.labs.speed._record import Record, Row
from helpers.labs.speed._rungs import RUNGS, Switches, in_order

WORKER, PRODUCT = "helpers.labs.speed._worker", "helpers.labs.speed._product"
SENT = ("config", "batch_size", "context_length", "updates", "warmup")  # settings that a worker gets
BACKWARD_TOO = 3  # FLOPs of an update over those of its forward pass

Run = Callable[[str, dict], dict]  # (worker, job) -> report


def climb(
    config: GPTConfig,
    batch_size: int,
    context_length: int | None = None,
    rungs: Iterable[str] | None = None,
    *,
    device: str | None = None,
    larger_batch: int | None = None,
    updates: int = 5,
    warmup: int = 0,
    rounds: int = 1,
    threads: int | None = None,
    memory_limit_gib: float | None = None,
    measure_peaks: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Record:
    """Train `config` on each rung in a process of its own and report how fast it went; nothing is printed.

    config            its drop_rate is taken as 0
    batch_size        B, rows of a batch
    context_length    T, tokens in a row; None: the config's
    rungs             names in RUNGS, in any order: they are climbed from the foot upwards, each with the changes of
                      the chosen ones below it; None: all that mean something on the device
    device            "cpu" or "cuda"; None: the card where there is one
    larger_batch      rows of the rung "larger-batch"; None: twice batch_size
    updates           timed updates per process, at least 1
    warmup            updates before the clock starts, besides the N_CHECKED that are compared with the first rung
    rounds            times that every rung is measured, A B C, A B C
    threads           CPU threads; None: as `runtime.start` has them
    memory_limit_gib  a cap on the card's memory per process, which emulates a smaller card; cuda only
    measure_peaks     on a CPU, measure its peak in a process for each precision; otherwise share_of_peak is None there
    tell              called with a line before each process starts

    A rung that cannot run is in the record with its reason, and its change is left out above it; one that ran out of
    memory keeps its change there. Rungs whose first updates differ from the first rung's by more than rounding are
    in the record with `agrees` False.

    ValueError: an unknown rung, a size below 1, a context longer than the config's, a device that is not there, or a
    memory limit on a CPU.
    """
    device = device or runtime.pick_device().type
    check_device(device)
    names = in_order(rungs, device)
    settings = {
        "config": asdict(replace(config, drop_rate=0.0)),
        "batch_size": batch_size,
        "larger_batch": 2 * batch_size if larger_batch is None else larger_batch,
        "context_length": config.context_length if context_length is None else context_length,
        "updates": updates,
        "warmup": warmup,
        "rounds": rounds,
    }
    threads = runtime.threads_in_use() if threads is None else threads
    _check(settings | {"threads": threads}, device, memory_limit_gib)
    common = {name: settings[name] for name in SENT} | {"device": device, "memory_limit_gib": memory_limit_gib}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = partial(run_worker, threads=threads, extra={"TORCHINDUCTOR_CACHE_DIR": folder})
        tell = tell or (lambda line: None)
        measured, peaks = [], {}
        for _ in range(rounds):
            measured.append(_round(names, common, settings, run, tell, measured))
            if measure_peaks or device == "cuda":
                _add_peaks(peaks, measured[-1], device, run, tell)
    machine = _machine(measured, device, threads, memory_limit_gib)
    return Record(machine, settings, peaks, rows_of(measured, settings, peaks))


def _check(sizes: dict, device: str, memory_limit_gib: float | None) -> None:
    for name, value in sizes.items():
        least = 0 if name == "warmup" else 1
        if name != "config" and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    longest = sizes["config"]["context_length"]
    if sizes["context_length"] > longest:
        raise ValueError(f"context_length {sizes['context_length']} exceeds the model's, {longest}")
    if memory_limit_gib is not None and (device != "cuda" or not 0 < memory_limit_gib < math.inf):
        raise ValueError(f"memory_limit_gib is a number above 0 on a card, got {memory_limit_gib!r} on {device}")


def _round(
    names: tuple[str, ...], common: dict, settings: dict, run: Run, tell: Callable[[str], None], before: list[dict]
) -> dict[str, dict]:
    """Name -> report, each from a process of its own; what did not run in an earlier round is not tried again."""
    reports, switches = {}, Switches()
    for name in names:
        changed = RUNGS[name].on(switches)
        rows = settings["larger_batch" if changed.larger_batch else "batch_size"]
        given_up = next((round_[name] for round_ in before if round_[name]["status"] != "ok"), None)
        if given_up is None:
            tell(f"round {len(before) + 1} of {settings['rounds']}: {name}")
        reports[name] = given_up or run(WORKER, common | {"switches": asdict(changed), "timed_rows": rows})
        # a change that broke is left out above; one that only ran out of memory may be what the next one mends
        decisive = before[0][name] if before else reports[name]
        if decisive["status"] == "ok" or decisive.get("out_of_memory"):
            switches = changed
    return reports


def _add_peaks(
    peaks: dict[str, dict], reports: dict[str, dict], device: str, run: Run, tell: Callable[[str], None]
) -> None:
    """Precision -> {"flops", "source"} of those that ran; on a CPU the best of all rounds."""
    for precision in dict.fromkeys(report["precision"] for report in reports.values() if report["status"] == "ok"):
        if device == "cuda":
            chip = next(report["chip"] for report in reports.values() if "chip" in report)
            if known := card_peak(chip, precision):
                peaks[precision] = {"flops": known[0], "source": known[1]}
            continue
        tell(f"peak in {precision}")
        found = run(PRODUCT, {"precision": precision})
        if found["status"] == "ok" and found["flops"] > peaks.get(precision, {"flops": 0})["flops"]:
            peaks[precision] = {name: found[name] for name in ("flops", "source")}


def _machine(rounds: list[dict], device: str, threads: int, memory_limit_gib: float | None) -> dict:
    seen = next((report for report in rounds[0].values() if "chip" in report), {})
    return {
        "device": device,
        "chip": seen.get("chip", "unknown: no process started"),
        "cores": os.cpu_count(),
        "threads": threads,
        "card_bytes": seen.get("card_bytes"),
        "memory_limit_gib": memory_limit_gib,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def rows_of(rounds: list[dict[str, dict]], settings: dict, peaks: dict[str, dict]) -> tuple[Row, ...]:
    """A Row for each rung from the workers' reports, round by round."""
    rows, before, first = [], None, None
    for name in rounds[0]:
        reports = [round_[name] for round_ in rounds]
        worst = next((report for report in reports if report["status"] != "ok"), None)
        if worst:
            rows.append(Row(name, worst["status"], worst["reason"], RUNGS[name].says))
            continue
        first = first or name
        rows.append(_measured(name, reports, rounds, settings, peaks, before, first))
        before = name
    return tuple(rows)


def _measured(
    name: str, reports: list[dict], rounds: list[dict], settings: dict, peaks: dict, before: str | None, first: str
) -> Row:
    precision = reports[0]["precision"]
    speeds = [speed for report in reports for speed in _speeds(report, settings)]
    middle = statistics.median(speeds)
    flops = BACKWARD_TOO * matmul_flops_per_token(GPTConfig(**settings["config"]), settings["context_length"])
    compiled = [report["compile_s"] for report in reports if report["compile_s"] is not None]
    checks = [compare(report, rounds[0][first]) for report in reports]
    agrees, words = next((check for check in checks if not check[0]), checks[0])
    return Row(
        name,
        "ok",
        "",
        RUNGS[name].says,
        precision=precision,
        batch_size=reports[0]["timed_rows"],
        tokens_per_s=middle,
        slowest=min(speeds),
        fastest=max(speeds),
        peak_bytes=round(statistics.median(report["peak_bytes"] for report in reports)),
        compile_s=max(compiled) if compiled else None,
        share_of_peak=flops * middle / peaks[precision]["flops"] if precision in peaks else None,
        times_before=_times(name, before, rounds, settings) if before else None,
        times_first=_times(name, first, rounds, settings),
        agrees=agrees,
        check="the first" if name == first else words,
        losses=tuple(reports[0]["losses"]),
    )


def _speeds(report: dict, settings: dict) -> list[float]:
    """Tokens/s of each timed update."""
    return [report["timed_rows"] * settings["context_length"] / seconds for seconds in report["seconds"]]


def _times(name: str, other: str, rounds: list[dict], settings: dict) -> float:
    """The median over rounds of one rung's median speed over the other's."""
    pairs = ([statistics.median(_speeds(round_[n], settings)) for n in (name, other)] for round_ in rounds)
    return statistics.median(mine / its for mine, its in pairs)
