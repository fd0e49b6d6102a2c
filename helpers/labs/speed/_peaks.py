"""The most that a chip can multiply: published for cards; on a CPU `_product` measures it."""

from __future__ import annotations

import re
from dataclasses import dataclass

TERA = 10**12
NO_PEAK = {"mig", "nvl"}  # a slice of a card, and bridged ones: not in the table


@dataclass(frozen=True)
class CardPeak:
    """Published dense peaks of a card in FLOP/s by precision, without the doubling for sparse matrices; and where."""

    card: str
    words: tuple[str, ...]  # of the name that the driver gives, which holds all of them
    flops: dict[str, float]
    source: str

    def fits(self, device_name: str) -> bool:
        """Whether the driver's name is this card, whole: a slice of one has no published peak."""
        found = set(re.findall(r"[a-z0-9]+", device_name.lower()))
        return found.issuperset(self.words) and found.isdisjoint(NO_PEAK)


def _flops(float32: float, tf32: float | None, half: float, *, bfloat16: bool = True) -> dict[str, float]:
    known = {"float32": float32, "tf32": tf32, "float16": half, "bfloat16": half if bfloat16 else None}
    return {name: value * TERA for name, value in known.items() if value is not None}


CARD_PEAKS = (
    CardPeak("T4", ("t4",), _flops(8.1, None, 65, bfloat16=False), "NVIDIA T4 datasheet, 2019"),
    CardPeak("V100 PCIe", ("v100", "pcie"), _flops(14, None, 112, bfloat16=False), "NVIDIA V100 datasheet, 2020"),
    CardPeak("V100 SXM2", ("v100", "sxm2"), _flops(15.7, None, 125, bfloat16=False), "NVIDIA V100 datasheet, 2020"),
    CardPeak("A100", ("a100",), _flops(19.5, 156, 312), "NVIDIA A100 datasheet, 2021"),
    CardPeak("H100 PCIe", ("h100", "pcie"), _flops(51, 378, 756), "NVIDIA H100 datasheet, 2023; half of sparse"),
    CardPeak("H100 SXM", ("h100", "hbm3"), _flops(67, 494.5, 989.5), "NVIDIA H100 datasheet, 2023; half of sparse"),
    CardPeak("H200 SXM", ("h200",), _flops(67, 494.5, 989.5), "NVIDIA H200 datasheet, 2024; half of sparse"),
    CardPeak("L4", ("l4",), _flops(30.3, 60, 121), "NVIDIA L4 datasheet, 2023; half of sparse"),
)


def card_peak(device_name: str, precision: str) -> tuple[float, str] | None:
    """(FLOP/s, source) of a card by the driver's name for it; None: not in the table, or not in this precision."""
    for card in CARD_PEAKS:
        if card.fits(device_name):
            return (card.flops[precision], card.source) if precision in card.flops else None
    return None
