"""What a measurement runs on: the processor or GPU, whether it multiplies bfloat16, and a process's peak memory."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

import torch

from helpers import runtime

CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's name


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
    """Whether the chip has instructions for it: without them products in bfloat16 are emulated, and slow."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= runtime.MIN_BF16_CAPABILITY
    return has_bfloat16(read_cpuinfo())


def cpu_model(cpuinfo: str) -> str:
    """The name in the text of /proc/cpuinfo, or what Python knows where there is none."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names an instruction for products of bfloat16."""
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
