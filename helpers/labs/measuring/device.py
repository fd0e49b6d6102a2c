"""The device that a worker measures on: whether it is there, what it multiplies, its peak memory, waiting for it."""

from __future__ import annotations

import torch

from helpers import runtime
from helpers.labs.measuring import machine

NO_BFLOAT16 = {"status": "skipped", "reason": "no bfloat16 instructions"}


def check_device(device: str) -> None:
    """ValueError: neither cpu nor cuda, or a card that is not there."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch finds no card here: take --device cpu")


def multiplies_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= runtime.MIN_BF16_CAPABILITY
    return machine.has_bfloat16(machine.read_cpuinfo())


def peak_bytes(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else machine.peak_resident_bytes()


def wait(device: str) -> None:
    """Return once the device has done all it was told to: a card works behind the program's back."""
    if device == "cuda":
        torch.cuda.synchronize()
