"""`make bench`: training and generation of every variant, interleaved, each time in a fresh process; on demand, memory.

    python -m tools.bench [--only training] [--rounds 3] [--device cpu] [--variants plain helpers ...]
    python -m tools.bench --only memory [--settings 5M 124M]

Training: tokens/s and peak memory of updates, at the size of GPT-2 and at the course's. Generation: tokens/s of a short
prompt's greedy continuation. Prints tables and writes build/bench.json; memory writes notebooks/data/memory_cpu.json.
A variant that fails is reported as failed; the exit code is 0 all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from helpers.gpt import PRESETS, preset
from helpers.labs import speed
from tools.bench import memory as memory_part
from tools.bench.variants import GENERATION, TRAINING

ROOT = speed.harness.ROOT
SIZES = {"book-124m": (2, 256), "course-small": (16, 128)}  # training: preset -> batch size, context length
PARTS = ("training", "generation", "memory")
HOW = "ratios are taken within a round: median (least to most); a fresh process each"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.only == "memory":
        return memory(options)
    result = {"machine": speed.machine.facts(options.device) | {"threads": options.threads}}
    print("{chip}, {threads} threads, torch {torch}".format(**result["machine"]))
    for name in options.preset or SIZES if options.only != "generation" else ():
        result[f"training, {name}"], table = training(name, options)
        print(f"\n{table}", flush=True)
    if options.only != "training":
        result["generation"], table = generation(options)
        print(f"\n{table}", flush=True)
    speed.harness.write_json(options.output or ROOT / "build" / "bench.json", result)
    return 0


def training(name: str, options: argparse.Namespace) -> tuple[dict, str]:
    """Updates of one size: ({"settings", "rounds"}, the table)."""
    batch_size, context = SIZES.get(name, next(iter(SIZES.values())))
    context = options.context_length or min(context, PRESETS[name].context_length)
    config = preset(name, context_length=context, drop_rate=options.drop_rate)
    common = {"config": asdict(config), "batch_size": options.batch_size or batch_size, "warmup": options.warmup}
    common |= {"steps": options.steps, "device": options.device}
    jobs = {variant: {"variant": variant} | common for variant in TRAINING if variant in options.variants}
    rounds = speed.run_rounds("tools.bench.variants:train", jobs, options.rounds, options.threads, tell=tell)
    base = next((n for n in jobs if rounds[0][n]["status"] == "ok"), None)
    rows = []
    for variant in jobs:
        if broken := speed.harness.problem(variant, rounds):
            rows.append([variant, f"{broken['status']}: {broken['reason']}"])
            continue
        tokens_per_s, peak = (speed.harness.median(variant, key, rounds) for key in ("tokens_per_s", "peak_bytes"))
        found, loss = rounds[0][variant], rounds[0][base]["first_loss"]
        speeds, peaks = (_ratios(variant, key, rounds, ("plain", "nanogpt")) for key in ("tokens_per_s", "peak_bytes"))
        off = abs(found["first_loss"] / loss - 1)
        size = f"{found['n_params'] / 1e6:.1f}M"
        rows.append([variant, size, f"{tokens_per_s:.0f}", *speeds, f"{peak / 1e6:.0f}", *peaks, f"{off:.0e}"])
    columns = ("variant", "params", "tok/s", "x plain", "x nanogpt", "peak MB", "of plain", "of nanogpt", "loss off")
    heading = (
        f"training, {name}: batch {common['batch_size']} x {context}, dropout {options.drop_rate}; {options.rounds} "
        f"rounds of {options.steps} steps after {options.warmup}; {HOW}; peak above the imports; loss off: the first "
        f"loss without dropout beside that of {base}"
    )
    record = {"settings": common | {"rounds": options.rounds}, "rounds": rounds}
    return record, f"{heading}\n\n{speed.text_table(columns, rows)}"


def generation(options: argparse.Namespace) -> tuple[dict, str]:
    """Greedy continuations of one prompt: ({"settings", "rounds"}, the table)."""
    name = (options.preset or ["gpt2-124m"])[0]
    common = {"config": asdict(preset(name, drop_rate=0.0)), "prompt_length": options.prompt_length}
    common |= {"new_tokens": options.new_tokens, "repeats": options.repeats, "device": options.device}
    jobs = {variant: {"variant": variant} | common for variant in GENERATION if variant in options.variants}
    rounds = speed.run_rounds("tools.bench.variants:write", jobs, options.rounds, options.threads, tell=tell)
    base = next((n for n in ("plain", "transformers") if rounds[0].get(n, {}).get("status") == "ok"), None)
    rows = []
    for variant in jobs:
        if broken := speed.harness.problem(variant, rounds):
            rows.append([variant, f"{broken['status']}: {broken['reason']}"])
            continue
        for n in map(str, options.new_tokens):
            of_length = [{v: r | r.get("lengths", {}).get(n, {}) for v, r in round_.items()} for round_ in rounds]
            found, tokens_per_s = of_length[0][variant], speed.harness.median(variant, "tokens_per_s", of_length)
            same = agreement(found["tokens"], of_length[0][base]["tokens"]) if base else "-"
            speeds = _ratios(variant, "tokens_per_s", of_length, ("plain", "transformers"))
            rows.append([variant, n, f"{tokens_per_s:.1f}", *speeds, f"{found['cache_bytes'] / 1e6:.2f}", same])
    columns = ("variant", "new", "tok/s", "x plain", "x transformers", "cache MB", "same")
    heading = (
        f"generation, {name}: prompt of {options.prompt_length} tokens, greedy, the prompt's reading included; "
        f"{options.rounds} rounds of {options.repeats} texts (1 where nothing is cached); {HOW}; same: new tokens, "
        f"from the first on, that are those of {base} (bfloat16 rounds, and may leave it anywhere)"
    )
    record = {"settings": common | {"rounds": options.rounds}, "rounds": rounds}
    return record, f"{heading}\n\n{speed.text_table(columns, rows)}"


def _ratios(variant: str, key: str, rounds: list[speed.harness.Round], baselines: tuple[str, ...]) -> list[str]:
    return [speed.harness.spread(speed.harness.ratio(variant, key, baseline, rounds)) for baseline in baselines]


def agreement(tokens: list[int], expected: list[int]) -> int:
    """How many tokens agree before the first that does not."""
    pairs = zip(tokens, expected, strict=True)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), len(tokens))


def memory(options: argparse.Namespace) -> int:
    """Measure the settings whose names hold one of `--settings`; predict again beside what the record has of others."""
    path = options.output or ROOT / "notebooks" / "data" / f"memory_{options.device}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    machine = speed.machine.facts(options.device)
    where = {name: machine[name] for name in ("chip", "torch")} | {"date": datetime.now(UTC).date().isoformat()}
    measured = {row["name"]: {key: row[key] for key in (*MEASURED, *where)} for row in known}
    words = [""] if options.settings is None else options.settings
    chosen = [setting for setting in memory_part.SETTINGS if any(word in setting.name for word in words)]
    for setting in [*chosen, None]:  # the record is written after each, and once where nothing is measured
        if setting:
            tell(setting.name)
            peaks = [memory_part.peak_of(setting, options.device, how) for how in (memory_part.GIVES_BACK, None)]
            measured[setting.name] = dict(zip(MEASURED, peaks, strict=True)) | where
        there = [setting for setting in memory_part.SETTINGS if setting.name in measured]
        rows = [memory_part.row_of(setting, options.device, measured[setting.name]) for setting in there]
        speed.harness.write_json(path, {"rows": rows})
    print(memory_part.table(rows))
    return 0


MEASURED = ("measured_bytes", "measured_default_bytes")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part; training and generation if not given")
    parser.add_argument("--rounds", type=_positive, default=3, help="how often each variant is measured")
    parser.add_argument("--threads", type=_positive, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--preset", choices=sorted(PRESETS), nargs="+", help="sizes; if not given, two for training")
    names = list(dict.fromkeys([*TRAINING, *GENERATION]))
    parser.add_argument("--variants", nargs="+", choices=names, default=names, help="in each part those it has")
    parser.add_argument("--output", type=Path, help="the record")
    group = parser.add_argument_group("training")
    group.add_argument("--steps", type=_positive, default=5, help="timed updates per process")
    group.add_argument("--warmup", type=_positive, default=2, help="updates before the clock starts")
    group.add_argument("--context-length", type=_positive, help="tokens in a sequence; the size's own if not given")
    group.add_argument("--batch-size", type=_positive, help="sequences in a batch; the size's own if not given")
    group.add_argument("--drop-rate", type=float, default=0.1)
    group = parser.add_argument_group("generation")
    group.add_argument("--prompt-length", type=_positive, default=4)
    group.add_argument("--new-tokens", type=_positive, nargs="+", default=[100, 250])
    group.add_argument("--repeats", type=_positive, default=3, help="timed texts per process and number of tokens")
    group = parser.add_argument_group("memory")
    group.add_argument("--settings", nargs="*", metavar="WORD", help="those whose names hold one of these; others are "
                       "predicted again, beside what the record has")  # fmt: skip
    options = parser.parse_args(arguments)
    for part, known in (("training", TRAINING), ("generation", GENERATION)):
        if options.only in (None, part) and not set(options.variants) & set(known):
            parser.error(f"--variants: {part} has none of them, only {', '.join(known)}; or use --only")
    longest = options.prompt_length + max(options.new_tokens)
    context = PRESETS[(options.preset or ["gpt2-124m"])[0]].context_length
    if longest > context and options.only in (None, "generation"):
        parser.error(f"--new-tokens: a text of {longest} tokens does not fit the context of {context}: write fewer")
    return options


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
