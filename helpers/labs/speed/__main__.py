"""`python -m helpers.labs.speed`: run the ablation, print its table, write its record."""

import argparse
import os
import sys
from pathlib import Path

from helpers import runtime
from helpers.gpt import PRESETS, preset
from helpers.labs.speed.ablation import ablate
from helpers.labs.speed.update import STEPS

DESCRIPTION = (
    "Training speed of one GPT, one change a step, each step in fresh processes and checked against the first. "
    "Prints a table and writes a record, which helpers.labs.speed.Record.read reads."
)
EPILOG = "steps, from the baseline on: " + "; ".join(f"{name}: {says}" for name, says in STEPS.items())


def main() -> int:
    """0, or 1 where a step's result differs from the first's or none could be measured."""
    parser = argparse.ArgumentParser(prog="python -m helpers.labs.speed", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gpt2-124m")
    parser.add_argument("--context-length", type=int, help="tokens in a sequence; the preset's if not given")
    parser.add_argument(
        "--batch-size", type=int, default=4, help="sequences in a batch; twice as many in the last step"
    )
    parser.add_argument("--updates", type=int, default=5, help="timed updates per process")
    parser.add_argument("--rounds", type=int, default=3, help="how often each step is measured")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), metavar="NAME", help="all if not given")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="the GPU where there is one, if not given")
    threads = min(runtime.DEFAULT_THREADS, os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=threads, help="of the CPU")
    parser.add_argument("--output", type=Path, help="the record; ablation_DEVICE.json if not given")
    options = vars(parser.parse_args())
    output, config = options.pop("output"), preset(options.pop("preset"))
    try:
        record = ablate(config, **options, tell=lambda line: print(line, file=sys.stderr, flush=True))
    except ValueError as error:
        parser.error(str(error))
    print(record)
    path = output or Path(f"ablation_{record.machine['device']}.json")
    try:
        print(f"\nwritten to {record.write(path)}")
    except OSError as error:
        parser.error(str(error))
    return int(not record.measured or any(row.agrees is False for row in record.rows))


if __name__ == "__main__":
    raise SystemExit(main())
