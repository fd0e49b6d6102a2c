"""What a measurement runs on: the processor's name, whether it multiplies bfloat16, and a process's peak memory."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's name


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


def peak_resident_bytes() -> int:
    """The most memory that this process has held in RAM so far.

    Linux also reports it through `getrusage`, but there a child inherits what its parent held before it started.
    """
    if STATUS.exists():
        found = re.search(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource  # not on Windows, where the rest of this module works

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
