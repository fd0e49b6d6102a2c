"""`make bench`: training tokens/s and peak memory of every variant, interleaved, each time in a fresh process.

    python -m tools.bench [--rounds 3] [--steps 5] [--preset book-124m] [--device cpu] [--variants plain helpers ...]

Prints a table and writes build/bench.json. A variant that fails is reported as failed; the exit code is 0 all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from helpers.config import PRESETS, GPTConfig, preset
from tools.bench import machine
from tools.bench.report import summarise, table

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "bench.json"
# a name of its own, so that the parent needs no torch: it must not warm or crowd the machine that its children measure
VARIANT_NAMES = ("plain", "transformers", "helpers-untied", "helpers", "helpers-untied-bf16", "helpers-bf16")
DEFAULT_THREADS = 2
MAX_REASON = 300


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    config = preset(options.preset, context_length=options.context_length, drop_rate=options.drop_rate)
    rounds = run_rounds(config, options)
    result = {
        "machine": {
            "cpu": machine.cpu_model(machine.read_cpuinfo()),
            "cores": os.cpu_count(),
            "device": options.device,
        },
        "settings": settings(config, options),
        "summary": summarise(rounds),
        "rounds": rounds,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=_positive, default=3, help="how often each variant is measured")
    parser.add_argument("--steps", type=_positive, default=5, help="timed updates per process")
    parser.add_argument("--warmup", type=_positive, default=2, help="updates before the clock starts")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="book-124m")
    parser.add_argument("--context-length", type=_positive, default=256, help="tokens in a row")
    parser.add_argument("--batch-size", type=_positive, default=2, help="rows in a batch")
    parser.add_argument("--drop-rate", type=float, default=0.1)
    parser.add_argument("--threads", type=_positive, default=min(DEFAULT_THREADS, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", nargs="+", choices=VARIANT_NAMES, default=list(VARIANT_NAMES))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser.parse_args(arguments)


def run_rounds(config: GPTConfig, options: argparse.Namespace) -> list[dict[str, dict]]:
    """One dict per round, variant name -> its report: A B C, A B C, so that a change of the machine hits all alike."""
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append({})
        for name in options.variants:
            print(f"round {number} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            rounds[-1][name] = run_worker(job(name, config, options), options.threads)
    return rounds


def job(name: str, config: GPTConfig, options: argparse.Namespace) -> dict:
    return {
        "variant": name,
        "config": asdict(config),
        "batch_size": options.batch_size,
        "warmup_steps": options.warmup,
        "timed_steps": options.steps,
        "device": options.device,
    }


def run_worker(job: dict, threads: int) -> dict:
    """The worker's report, or {"status": "failed", "reason": its last line} when the process did not end well."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.worker", json.dumps(job)],
        cwd=ROOT,
        env=os.environ | environment(threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].replace(str(ROOT), ".").replace(sys.prefix, "")
        return {"status": "failed", "reason": f"{last[:MAX_REASON]} (exit code {done.returncode})"}
    return json.loads(done.stdout.splitlines()[-1])


def environment(threads: int) -> dict[str, str]:
    """What every worker is started with, the same for all variants."""
    return {
        "COURSE_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
    }


def settings(config: GPTConfig, options: argparse.Namespace) -> dict:
    kept = ("preset", "batch_size", "warmup", "steps", "rounds", "threads")
    return {name: getattr(options, name) for name in kept} | {"config": asdict(config)}


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
