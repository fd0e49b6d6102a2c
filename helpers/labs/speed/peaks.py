"""The most that a chip can multiply: published for GPUs, measured on a CPU."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch

TERA = 10**12
NO_PEAK = {"mig", "nvl"}  # a slice of a GPU, and bridged ones: not in the table
SIZE = 2048  # rows and columns of both matrices: far more than a processor's caches hold
REPEATS = 10  # the best of them counts: what disturbs makes it slower only


@dataclass(frozen=True)
class GPUPeak:
    """Published dense peaks of a GPU in FLOP/s by precision, without the doubling for sparse matrices; and where."""

    gpu: str
    words: tuple[str, ...]  # of the name that the driver gives, which holds all of them
    flops: dict[str, float]
    source: str

    def fits(self, device_name: str) -> bool:
        """Whether the driver's name is this GPU, whole: a slice of one has no published peak."""
        found = set(re.findall(r"[a-z0-9]+", device_name.lower()))
        return found.issuperset(self.words) and found.isdisjoint(NO_PEAK)


def _flops(float32: float, tf32: float | None, half: float, *, bfloat16: bool = True) -> dict[str, float]:
    known = {"float32": float32, "tf32": tf32, "float16": half, "bfloat16": half if bfloat16 else None}
    return {name: value * TERA for name, value in known.items() if value is not None}


GPU_PEAKS = (
    GPUPeak("T4", ("t4",), _flops(8.1, None, 65, bfloat16=False), "NVIDIA T4 datasheet, 2019"),
    GPUPeak("V100 PCIe", ("v100", "pcie"), _flops(14, None, 112, bfloat16=False), "NVIDIA V100 datasheet, 2020"),
    GPUPeak("V100 SXM2", ("v100", "sxm2"), _flops(15.7, None, 125, bfloat16=False), "NVIDIA V100 datasheet, 2020"),
    GPUPeak("A100", ("a100",), _flops(19.5, 156, 312), "NVIDIA A100 datasheet, 2021"),
    GPUPeak("H100 PCIe", ("h100", "pcie"), _flops(51, 378, 756), "NVIDIA H100 datasheet, 2023; half of sparse"),
    GPUPeak("H100 SXM", ("h100", "hbm3"), _flops(67, 494.5, 989.5), "NVIDIA H100 datasheet, 2023; half of sparse"),
    GPUPeak("H200 SXM", ("h200",), _flops(67, 494.5, 989.5), "NVIDIA H200 datasheet, 2024; half of sparse"),
    GPUPeak("L4", ("l4",), _flops(30.3, 60, 121), "NVIDIA L4 datasheet, 2023; half of sparse"),
)


def gpu_peak(device_name: str, precision: str) -> dict | None:
    """{"flops", "source"} of a GPU by the driver's name for it; None: not in the table, or not in this precision."""
    for gpu in GPU_PEAKS:
        if gpu.fits(device_name):
            return {"flops": gpu.flops[precision], "source": gpu.source} if precision in gpu.flops else None
    return None


def cpu_peak(precision: str, size: int = SIZE) -> dict:
    """{"flops", "source"}: operations per second of one (size, size) product, a multiply and an add being two."""
    left, right = (torch.randn(size, size).to(getattr(torch, precision)) for _ in range(2))
    result = left @ right  # allocates, and lets the library choose its kernel
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(left, right, out=result)
        seconds.append(time.perf_counter() - start)
    return {"flops": 2 * size**3 / min(seconds), "source": f"measured: {size} x {size} matrices"}
