"""How fast and how large: the benchmarks' harness, and an ablation of training speed, each step checked.

    record = ablate(preset("course-small"), batch_size=8, steps=("float32", "fused-attention", "chunked-loss"))
    print(record)                                    # tokens/s, peak memory, share of the chip's peak, ratios
    Record.read("data/ablation_cpu.json").cells()    # the same of a recorded one, for `pages.table`

`update.STEPS` lists the steps; each change is kept for the steps after it.
From the command line: `python -m helpers.labs.speed --help`.
"""

from helpers.labs.speed import harness, machine
from helpers.labs.speed.ablation import COLUMNS, Record, ablate
from helpers.labs.speed.machine import GPU_PEAKS, peak_resident_bytes
from helpers.labs.speed.reading import for_reading

# fmt: off
__all__ = [
    "COLUMNS", "GPU_PEAKS", "Record", "ablate", "for_reading", "harness", "machine", "peak_resident_bytes",
]
