"""`make bench`: training and generation of every variant, interleaved, each time in a fresh process; on demand, memory.

    python -m tools.bench [--only training] [--rounds 3] [--device cpu]
    python -m tools.bench --only memory [--settings 5M 124M]

Training: tokens/s and peak memory of updates, at the size of GPT-2 and at the course's. Generation: tokens/s of a short
prompt's greedy continuation. Prints tables and writes build/bench.json; memory writes notebooks/data/memory_cpu.json.
A variant that fails is reported as failed; the exit code is 0 all the same.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from helpers.gpt import preset
from helpers.labs import speed
from tools.bench import memory as memory_part
from tools.bench.variants import GENERATION, TRAINING

SIZES = {"book-124m": (2, 256), "course-small": (16, 128)}  # training: preset -> batch size, context length
WARMUP, STEPS, DROP_RATE = 2, 5, 0.1  # of training: updates before the clock starts, and timed ones
WRITER, PROMPT_LENGTH, NEW_TOKENS = "gpt2-124m", 4, (100, 250)  # of generation: its size, and tokens of its texts
REPEATS = 3  # timed texts where a cache is used
HOW = "ratios are taken within a round: median (least to most); a fresh process each"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.only == "memory":
        return memory(options)
    result = {"machine": speed.machine.facts(options.device) | {"threads": options.threads}}
    print("{chip}, {threads} threads, torch {torch}".format(**result["machine"]))
    for name in SIZES if options.only != "generation" else ():
        result[f"training, {name}"] = training(name, options)
    if options.only != "training":
        result["generation"] = generation(options)
    speed.harness.write_json(options.output or speed.harness.ROOT / "build" / "bench.json", result)
    return 0


def training(name: str, options: argparse.Namespace) -> dict:
    """Updates of one size: prints its table, returns {"settings", "rounds"}."""
    batch_size, context = SIZES[name]
    config = preset(name, context_length=context, drop_rate=DROP_RATE)
    common = {"config": asdict(config), "batch_size": batch_size, "warmup": WARMUP, "steps": STEPS}
    record = measured("tools.bench.variants:train", TRAINING, common, options)
    rounds = record["rounds"]
    base = next((name for name, report in rounds[0].items() if report["status"] == "ok"), None)

    def lines(variant: str) -> list[list[str]]:
        tokens_per_s, peak = (speed.harness.median(variant, key, rounds) for key in ("tokens_per_s", "peak_bytes"))
        speeds, peaks = (_ratios(variant, key, rounds, ("plain", "nanogpt")) for key in ("tokens_per_s", "peak_bytes"))
        off = abs(rounds[0][variant]["first_loss"] / rounds[0][base]["first_loss"] - 1)
        size = f"{rounds[0][variant]['n_params'] / 1e6:.1f}M"
        return [[variant, size, f"{tokens_per_s:.0f}", *speeds, f"{peak / 1e6:.0f}", *peaks, f"{off:.0e}"]]

    heading = (
        f"training, {name}: batch {batch_size} x {context}, dropout {DROP_RATE}; {options.rounds} rounds of "
        f"{STEPS} steps after {WARMUP}; {HOW}; peak above the imports; loss off: the first loss without "
        f"dropout beside that of {base}"
    )
    columns = ("variant", "params", "tok/s", "x plain", "x nanogpt", "peak MB", "of plain", "of nanogpt", "loss off")
    show(heading, columns, rounds, lines)
    return record


def generation(options: argparse.Namespace) -> dict:
    """Greedy continuations of one prompt: prints their table, returns {"settings", "rounds"}."""
    common = {"config": asdict(preset(WRITER, drop_rate=0.0)), "prompt_length": PROMPT_LENGTH}
    common |= {"new_tokens": NEW_TOKENS, "repeats": REPEATS}
    record = measured("tools.bench.variants:write", GENERATION, common, options)
    rounds = record["rounds"]
    base = next((n for n in ("plain", "transformers") if rounds[0].get(n, {}).get("status") == "ok"), None)

    def lines(variant: str) -> list[list[str]]:
        rows = []
        for n in map(str, NEW_TOKENS):
            of_length = [{v: r | r.get("lengths", {}).get(n, {}) for v, r in round_.items()} for round_ in rounds]
            found, tokens_per_s = of_length[0][variant], speed.harness.median(variant, "tokens_per_s", of_length)
            same = agreement(found["tokens"], of_length[0][base]["tokens"]) if base else "-"
            speeds = _ratios(variant, "tokens_per_s", of_length, ("plain", "transformers"))
            rows.append([variant, n, f"{tokens_per_s:.1f}", *speeds, f"{found['cache_bytes'] / 1e6:.2f}", same])
        return rows

    heading = (
        f"generation, {WRITER}: prompt of {PROMPT_LENGTH} tokens, greedy, the prompt's reading included; "
        f"{options.rounds} rounds of {REPEATS} texts (1 where nothing is cached); {HOW}; same: new tokens, from the "
        f"first on, that are those of {base} (bfloat16 rounds, and may leave it anywhere)"
    )
    show(heading, ("variant", "new", "tok/s", "x plain", "x transformers", "cache MB", "same"), rounds, lines)
    return record


def measured(function: str, variants: Iterable[str], common: dict, options: argparse.Namespace) -> dict:
    """{"settings", "rounds"} of the variants, each with the same settings."""
    common |= {"device": options.device}
    jobs = {variant: {"variant": variant} | common for variant in variants}
    rounds = speed.harness.run_rounds(function, jobs, options.rounds, options.threads, tell)
    return {"settings": common | {"rounds": options.rounds}, "rounds": rounds}


def show(heading: str, columns: tuple[str, ...], rounds: list[dict], lines: Callable[[str], list[list[str]]]) -> None:
    """Print a table with the lines of each variant, or why it has none."""
    rows = []
    for variant in rounds[0]:
        broken = speed.harness.problem(variant, rounds)
        rows += [[variant, f"{broken['status']}: {broken['reason']}"]] if broken else lines(variant)
    print(f"\n{heading}\n\n{speed.harness.text_table(columns, rows)}", flush=True)


def _ratios(variant: str, key: str, rounds: list[dict], baselines: tuple[str, ...]) -> list[str]:
    return [speed.harness.spread(speed.harness.ratio(variant, key, baseline, rounds)) for baseline in baselines]


def agreement(tokens: list[int], expected: list[int]) -> int:
    """How many tokens agree before the first that does not."""
    pairs = zip(tokens, expected, strict=True)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), len(tokens))


def memory(options: argparse.Namespace) -> int:
    """Measure the settings whose names hold one of `--settings`; predict again beside what the record has of others."""
    path = options.output or speed.harness.ROOT / "notebooks" / "data" / f"memory_{options.device}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    machine = speed.machine.facts(options.device)
    where = {name: machine[name] for name in ("chip", "torch")} | {"date": datetime.now(UTC).date().isoformat()}
    measured = {row["name"]: {key: row[key] for key in ("measured_bytes", *where)} for row in known}
    words = [""] if options.settings is None else options.settings
    chosen = [setting for setting in memory_part.SETTINGS if any(word in setting.name for word in words)]
    for setting in [*chosen, None]:  # the record is written after each, and once where nothing is measured
        if setting:
            tell(setting.name)
            measured[setting.name] = {"measured_bytes": memory_part.peak_of(setting, options.device)} | where
        there = [setting for setting in memory_part.SETTINGS if setting.name in measured]
        rows = [memory_part.row_of(setting, options.device, measured[setting.name]) for setting in there]
        speed.harness.write_json(path, {"rows": rows})
    print(memory_part.table(rows))
    return 0


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.splitlines()[0])
    add = parser.add_argument
    parts = ("training", "generation", "memory")
    add("--only", choices=parts, help="one part; training and generation if not given")
    add("--rounds", type=_positive, default=3, help="how often each variant is measured")
    add("--threads", type=_positive, default=min(2, os.cpu_count() or 1))
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--output", type=Path, help="the record")
    add("--settings", nargs="*", metavar="WORD", help="of memory: those whose names hold one of these; others are "
        "predicted again, beside what the record has")  # fmt: skip
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
