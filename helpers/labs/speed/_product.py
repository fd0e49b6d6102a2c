"""A CPU's peak, in a process of its own: `python -m helpers.labs.speed._product '{"precision": "float32"}'`."""

from __future__ import annotations

import json
import sys
import time

import torch

from helpers import runtime

SIZE = 2048  # rows and columns of both matrices: far more than a processor's caches hold
REPEATS = 10  # the best of them counts: what disturbs makes it slower only


def measure(precision: str, size: int = SIZE) -> dict:
    """{"status": "ok", "flops"}: floating-point operations per second of one (size, size) product; a multiply and an
    add are two.
    """
    runtime.start(0)
    left, right = (torch.randn(size, size).to(getattr(torch, precision)) for _ in range(2))
    result = left @ right  # allocates, and lets the library choose its kernel
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(left, right, out=result)
        seconds.append(time.perf_counter() - start)
    return {"status": "ok", "flops": 2 * size**3 / min(seconds), "source": f"measured: {size} x {size} matrices"}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
