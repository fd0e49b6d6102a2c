"""`make bench`: speed of training and of generation of every variant, interleaved, each time in a fresh process.

    python -m tools.bench [--only training] [--rounds 3] [--device cpu] [--variants plain helpers ...]

Training: tokens/s and peak memory of updates. Generation: tokens/s of a short prompt's greedy continuation, beside the
plain loop and transformers' `generate`. Prints two tables and writes build/bench.json. A variant that fails is reported
as failed; the exit code is 0 all the same.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from helpers.gpt import PRESETS, GPTConfig, preset
from helpers.labs import measuring
from helpers.labs.measuring.processes import ROOT, run_rounds
from tools.bench import report, writing_report

OUTPUT = ROOT / "build" / "bench.json"
# names of their own, so that the parent needs no torch: it must not warm or crowd the machine that its children measure
VARIANT_NAMES = ("plain", "transformers", "helpers-untied", "helpers", "helpers-untied-bf16", "helpers-bf16")
WRITER_NAMES = ("plain", "transformers", "transformers-bf16", "helpers-no-cache", "helpers", "helpers-bf16")
UNCACHED = ("plain", "helpers-no-cache")
PARTS = ("training", "generation")
DEFAULT_THREADS = 2


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    host = {
        "cpu": measuring.machine.cpu_model(measuring.machine.read_cpuinfo()),
        "cores": os.cpu_count(),
        "device": options.device,
    }
    result = {"machine": host}
    if options.only != "generation":
        result["training"] = training(options)
    if options.only != "training":
        result["generation"] = generation(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(_tables(result, options.threads)))
    return 0


def training(options: argparse.Namespace) -> dict:
    """{"settings", "summary", "rounds"} of updates."""
    config = preset(options.preset, context_length=options.context_length, drop_rate=options.drop_rate)
    common = {
        "config": asdict(config),
        "batch_size": options.batch_size,
        "warmup_steps": options.warmup,
        "timed_steps": options.steps,
        "device": options.device,
    }
    jobs = {name: {"variant": name} | common for name in options.variants or VARIANT_NAMES if name in VARIANT_NAMES}
    rounds = run_rounds("tools.bench.worker", jobs, options.rounds, options.threads)
    settings = _settings(config, options, ("preset", "batch_size", "warmup", "steps", "rounds", "threads"))
    return {"settings": settings, "summary": report.summarise(rounds), "rounds": rounds}


def generation(options: argparse.Namespace) -> dict:
    """{"settings", "summary", "rounds"} of greedy continuations."""
    config = preset(options.generation_preset, drop_rate=0.0)
    common = {
        "config": asdict(config),
        "prompt_length": options.prompt_length,
        "new_tokens": options.new_tokens,
        "device": options.device,
    }
    repeats = {name: options.slow_repeats if name in UNCACHED else options.repeats for name in WRITER_NAMES}
    names = [name for name in options.variants or WRITER_NAMES if name in WRITER_NAMES]
    jobs = {name: {"variant": name, "repeats": repeats[name]} | common for name in names}
    rounds = run_rounds("tools.bench.writing", jobs, options.rounds, options.threads)
    settings = {"preset": options.generation_preset} | _settings(
        config, options, ("prompt_length", "new_tokens", "repeats", "slow_repeats", "rounds", "threads")
    )
    return {"settings": settings, "summary": writing_report.summarise(rounds, options.new_tokens), "rounds": rounds}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one of the two parts; both if not given")
    parser.add_argument("--rounds", type=_positive, default=3, help="how often each variant is measured")
    parser.add_argument("--threads", type=_positive, default=min(DEFAULT_THREADS, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    names = list(dict.fromkeys(VARIANT_NAMES + WRITER_NAMES))
    parser.add_argument("--variants", nargs="+", choices=names, help="in each part those it has; all if not given")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    group = parser.add_argument_group("training")
    group.add_argument("--preset", choices=sorted(PRESETS), default="book-124m")
    group.add_argument("--steps", type=_positive, default=5, help="timed updates per process")
    group.add_argument("--warmup", type=_positive, default=2, help="updates before the clock starts")
    group.add_argument("--context-length", type=_positive, default=256, help="tokens in a row")
    group.add_argument("--batch-size", type=_positive, default=2, help="rows in a batch")
    group.add_argument("--drop-rate", type=float, default=0.1)
    group = parser.add_argument_group("generation")
    group.add_argument("--generation-preset", choices=sorted(PRESETS), default="gpt2-124m")
    group.add_argument("--prompt-length", type=_positive, default=4)
    group.add_argument("--new-tokens", type=_positive, nargs="+", default=[100, 250])
    group.add_argument("--repeats", type=_positive, default=3, help="timed texts per process and number of tokens")
    group.add_argument("--slow-repeats", type=_positive, default=1, help="the same where nothing is cached")
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for part, names in zip(PARTS, (VARIANT_NAMES, WRITER_NAMES), strict=True):
        if options.only in (None, part) and options.variants and not set(options.variants) & set(names):
            parser.error(f"--variants: {part} has none of them, only {', '.join(names)}; or use --only")
    longest = options.prompt_length + max(options.new_tokens)
    context = PRESETS[options.generation_preset].context_length
    if longest > context and options.only != "training":
        parser.error(f"--new-tokens: a text of {longest} tokens does not fit the context of {context}: write fewer")


def _settings(config: GPTConfig, options: argparse.Namespace, names: tuple[str, ...]) -> dict:
    return {name: getattr(options, name) for name in names} | {"config": asdict(config)}


def _tables(result: dict, threads: int) -> list[str]:
    parts = {name: result[name] for name in PARTS if name in result}
    version = report.torch_version([round_ for part in parts.values() for round_ in part["rounds"]])
    host = result["machine"]
    tables = {"training": report.table, "generation": writing_report.table}
    heading = f"{host['cpu']}, {threads} threads, {host['device']}, torch {version}"
    return [heading, *(tables[name](part) for name, part in parts.items())]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
