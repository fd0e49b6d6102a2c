"""The command line of the ladder: sizes in, a table and a record out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from helpers import runtime
from helpers.gpt import PRESETS, preset
from helpers.labs.speed._climb import climb
from helpers.labs.speed._rungs import DEVICES, RUNGS

DESCRIPTION = (
    "Training speed of one GPT, one change a rung, each rung in a fresh process and checked against the first. "
    "Prints a table and writes a record, which helpers.labs.speed.Record.read reads."
)
EPILOG = "rungs, from the foot upwards: " + "; ".join(f"{name}: {rung.says}" for name, rung in RUNGS.items())


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 where a rung's result differs from the first's or none could be measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        record = climb(
            preset(options.preset),
            options.batch_size,
            options.context_length,
            options.rungs,
            device=options.device,
            larger_batch=options.larger_batch,
            updates=options.updates,
            warmup=options.warmup,
            rounds=options.rounds,
            threads=options.threads,
            memory_limit_gib=options.memory_limit_gib,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except ValueError as error:
        parser.error(str(error))
    path = record.write(options.output or Path(f"ladder_{record.machine['device']}.json"))
    print(record)
    print(f"\nwritten to {path}")
    return int(not record.measured or any(row.agrees is False for row in record.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.labs.speed", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gpt2-124m")
    parser.add_argument("--context-length", type=int, help="tokens in a row; the preset's if not given")
    parser.add_argument("--batch-size", type=int, default=4, help="rows in a batch")
    parser.add_argument("--larger-batch", type=int, help="rows on the last rung; twice as many if not given")
    parser.add_argument("--updates", type=int, default=5, help="timed updates per process")
    parser.add_argument("--warmup", type=int, default=0, help="untimed ones, besides those that are compared")
    parser.add_argument("--rounds", type=int, default=3, help="how often each rung is measured")
    parser.add_argument("--rungs", nargs="+", choices=list(RUNGS), metavar="NAME", help="all if not given")
    parser.add_argument("--device", choices=DEVICES, help="the card where there is one, if not given")
    parser.add_argument("--threads", type=int, default=_threads(), help="of the CPU")
    parser.add_argument("--output", type=Path, help="the record; ladder_DEVICE.json if not given")
    parser.add_argument(
        "--memory-limit-gib",
        type=float,
        help="cap on the card's memory per process: emulates a smaller card's memory, not its speed; cuda only",
    )
    return parser


def _threads() -> int:
    asked = os.environ.get(runtime.THREADS_VARIABLE, "")
    return int(asked) if asked.isdecimal() else min(runtime.DEFAULT_THREADS, os.cpu_count() or 1)
