"""What a measurement runs on: the processor or GPU, a process's peak memory, and the most that the chip can multiply.

That is published for GPUs, and measured on a CPU.
"""

import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers import runtime

CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's name
TERA = 10**12
NO_PEAK = {"mig", "nvl"}  # a slice of a GPU, and bridged ones: not in the table
SIZE = 2048  # rows and columns of both matrices: far more than a processor's caches hold
REPEATS = 10  # the best of them counts: what disturbs makes it slower only


def facts(device: str) -> dict:
    """What a record says about where it was measured: chip, cores, memory, threads, system, Python, torch."""
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return {
        "device": device,
        "chip": gpu.name if gpu else cpu_model(read_cpuinfo()),
        "cores": os.cpu_count(),
        "threads": runtime.threads_in_use(),
        "gpu_bytes": gpu.total_memory if gpu else None,
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def check_device(device: str) -> None:
    """ValueError: neither cpu nor cuda, or a GPU that is not there."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch finds no GPU here: take --device cpu")


def multiplies_bfloat16(device: str) -> bool:
    """Whether the chip has instructions for it: without them matmuls in bfloat16 are emulated, and slow."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= runtime.MIN_BF16_CAPABILITY
    return has_bfloat16(read_cpuinfo())


def cpu_model(cpuinfo: str) -> str:
    """The name in the text of /proc/cpuinfo, or what Python knows where there is none."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names an instruction for matmuls in bfloat16."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found is not None and not BF16_FLAGS.isdisjoint(found[1].split())


def read_cpuinfo() -> str:
    return CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""


def peak_bytes(device: str) -> int:
    """The most that was held so far: by torch's allocator on a GPU, resident on a CPU."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory that this process has held in RAM so far; in `getrusage` Linux counts the parent's too."""
    if STATUS.exists():
        found = re.search(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource  # not on Windows, where the rest of this module works

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def wait(device: str) -> None:
    """Return once the device has done all it was told to: a GPU works behind the program's back."""
    if device == "cuda":
        torch.cuda.synchronize()


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
    return {"flops": 2 * int(size) ** 3 / min(seconds), "source": f"measured: {size} x {size} matrices"}
