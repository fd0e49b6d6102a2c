"""`python -m helpers.labs.scaling`: make the record of notebook 10, or what lacks of it; `--verify 10` checks it."""

import argparse
from pathlib import Path

import torch

from helpers import runtime
from helpers.labs.scaling import RECORD, SIZES, record, verify

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m helpers.labs.scaling", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORD, help="the record; an unfinished one is gone on with")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="only these, for several processes at once")
    parser.add_argument("--verify", type=int, metavar="N", help="make N runs of the record again and compare")
    options = parser.parse_args()
    runtime.start(seed=0)
    torch.set_num_threads(1)
    try:
        if options.verify:
            raise SystemExit(0 if verify(options.verify, options.output) else 1)
        record(options.output, options.sizes)
    except (ValueError, OSError) as error:
        parser.error(str(error))
