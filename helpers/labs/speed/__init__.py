"""How fast and how large: the benchmarks' harness, and an ablation of training speed, each step checked.

    record = ablate(preset("course-small"), batch_size=8, steps=("float32", "fused-attention", "chunked-loss"))
    print(record)                                    # tokens/s, peak memory, share of the chip's peak, ratios
    Record.read("data/ablation_cpu.json").cells()    # the same of a recorded one, for `pages.table`

The steps: plain float32 with all logits at once, attention step by step and AdamW parameter by parameter; TF32 (GPUs
only); bfloat16, or float16 with a scaler on a GPU that has none; fused attention; fused AdamW; the loss in chunks;
compiled blocks; a vocabulary padded to a multiple of 64; a larger batch. Each change is kept for the steps after it.
From the command line: `python -m helpers.labs.speed --help`.
"""

from helpers.labs.speed import ablation, harness, machine, peaks, update
from helpers.labs.speed.ablation import ablate
from helpers.labs.speed.machine import peak_resident_bytes
from helpers.labs.speed.peaks import GPU_PEAKS
from helpers.labs.speed.reading import for_reading
from helpers.labs.speed.record import COLUMNS, Record

__all__ = [
    "COLUMNS",
    "GPU_PEAKS",
    "Record",
    "ablate",
    "ablation",
    "for_reading",
    "harness",
    "machine",
    "peak_resident_bytes",
    "peaks",
    "update",
]
