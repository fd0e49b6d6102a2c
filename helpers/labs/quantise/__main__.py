"""`python -m helpers.labs.quantise`: make the record, or what lacks of it. It takes some minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers import runtime
from helpers.labs.quantise import RECORD, record

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m helpers.labs.quantise", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORD, help="the record; an unfinished one is gone on with")
    options = parser.parse_args()
    runtime.start(seed=0)
    try:
        record(options.output)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
