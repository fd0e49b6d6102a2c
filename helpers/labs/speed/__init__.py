"""The ladder: one model trained ever faster, one change a rung, each rung in a fresh process and checked.

    record = climb(preset("course-small"), batch_size=8, rungs=("float32", "fused-attention", "chunked-loss"))
    record.table()                                   # tokens/s, peak memory, share of the chip's peak, ratios
    figure(Record.read("data/ladder_cpu.json"), record, title="what each change is worth")

The order, on a card and on a CPU: plain float32 with all logits at once, attention step by step and AdamW parameter by
parameter; TF32 (cards only); bfloat16, or float16 with a scaler on a card that has none; fused attention; fused AdamW;
the loss in chunks; compiled blocks; a vocabulary padded to a multiple of 64; a larger batch. Each change is kept for
the rungs above it. From the command line: `python -m helpers.labs.speed --help`.
"""

from helpers.labs.speed._climb import climb
from helpers.labs.speed._peaks import CARD_PEAKS, CardPeak
from helpers.labs.speed._published import PUBLISHED, PUBLISHED_MACHINE, PUBLISHED_SOURCE, PublishedRung
from helpers.labs.speed._record import Record, Row
from helpers.labs.speed._report import figure
from helpers.labs.speed._rungs import RUNGS, Rung, names_for
from helpers.labs.speed.reading import for_reading

__all__ = [
    "CARD_PEAKS",
    "PUBLISHED",
    "PUBLISHED_MACHINE",
    "PUBLISHED_SOURCE",
    "RUNGS",
    "CardPeak",
    "PublishedRung",
    "Record",
    "Row",
    "Rung",
    "climb",
    "figure",
    "for_reading",
    "names_for",
]
