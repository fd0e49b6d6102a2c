"""How fast and how large: the benchmarks' harness, and an ablation of training speed, each step checked.

    record = ablate(preset("course-small"), batch_size=8, steps=("float32", "fused-attention", "chunked-loss"))
    print(record)                                    # tokens/s, peak memory, share of the chip's peak, ratios
    Record.read("data/ablation_cpu.json").cells()    # the same of a recorded one, for `pages.table`

The steps: plain float32 with all logits at once, attention step by step and AdamW parameter by parameter; TF32 (GPUs
only); bfloat16, or float16 with a scaler on a GPU that has none; fused attention; fused AdamW; the loss in chunks;
compiled blocks; a vocabulary padded to a multiple of 64; a larger batch. Each change is kept for the steps after it.
From the command line: `python -m helpers.labs.speed --help`.
"""

from helpers.labs.speed import harness, machine
from helpers.labs.speed.ablation import TOLERANCES, ablate, compare, in_order
from helpers.labs.speed.command import main
from helpers.labs.speed.harness import Skip, run, run_rounds, text_table
from helpers.labs.speed.machine import peak_resident_bytes
from helpers.labs.speed.peaks import GPU_PEAKS, cpu_peak, gpu_peak
from helpers.labs.speed.reading import for_reading
from helpers.labs.speed.record import COLUMNS, Record, Row
from helpers.labs.speed.update import (
    STEPS,
    UnfusedAttention,
    build,
    loss_of,
    make_batches,
    make_update,
    measure_update,
    precision_of,
    require,
)

__all__ = [
    "COLUMNS",
    "GPU_PEAKS",
    "STEPS",
    "TOLERANCES",
    "Record",
    "Row",
    "Skip",
    "UnfusedAttention",
    "ablate",
    "build",
    "compare",
    "cpu_peak",
    "for_reading",
    "gpu_peak",
    "harness",
    "in_order",
    "loss_of",
    "machine",
    "main",
    "make_batches",
    "make_update",
    "measure_update",
    "peak_resident_bytes",
    "precision_of",
    "require",
    "run",
    "run_rounds",
    "text_table",
]
