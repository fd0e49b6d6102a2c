"""`python -m helpers.labs.changes`: make the record, or what lacks of it."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from helpers import runtime
from helpers.labs.changes import RECORD, record

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m helpers.labs.changes", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORD, help="the record; an unfinished one is gone on with")
    options = parser.parse_args()
    runtime.start(seed=0)
    torch.set_num_threads(1)
    try:
        record(options.output)
    except ValueError as error:
        parser.error(str(error))
