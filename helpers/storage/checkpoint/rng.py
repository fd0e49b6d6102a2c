"""The random number generators of a run as plain JSON: Python, numpy's global one, torch on CPU and on each GPU."""

from __future__ import annotations

import math
import random

import numpy as np
import torch

WORDS = 624  # of 32 bits in the state of a Mersenne Twister, the generator of Python and of numpy's global functions


def capture_rng(device: str | torch.device | None = None) -> dict:
    """Where every generator stands now, as JSON: the CPU's three always, those of GPUs under "cuda", by index.

    device   None: every CUDA device that this process can see; "cuda:1": that one; "cpu": none

    Source: Matsumoto & Nishimura 1998 (Mersenne Twister), for the 624 words.
    """
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, numpy_gauss = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, key.tolist(), int(position), int(has_gauss), float(numpy_gauss)],
        "torch": _hex(torch.get_rng_state()),
        "cuda": {str(i): _hex(torch.cuda.get_rng_state(i)) for i in _cuda_indices(device)},
    }


def restore_rng(rng: dict, device: str | torch.device | None = None) -> tuple[str, ...]:
    """Put every generator back where `capture_rng` found it; all are looked at before any is touched.

    device   None: each CUDA device gets the state of its index; "cuda:1": that one does, or, where a single state of
             another index was saved, gets that one; "cpu": none does
    return   devices whose draws cannot be repeated, such as ("cuda:1",): no state of theirs, or they are not here

    ValueError: not what `capture_rng` gives.
    """
    try:
        version, words, gauss = rng["python"]
        python, numpy, cpu = (version, tuple(words), gauss), tuple(rng["numpy"]), _tensor(rng["torch"])
        cuda = {int(i): _tensor(text) for i, text in rng["cuda"].items()}
        random.Random().setstate(python)  # each refuses what is no state, on a generator of its own
        np.random.RandomState().set_state(numpy)
        torch.Generator().set_state(cpu)
        if not (0 <= numpy[2] <= WORDS and math.isfinite(numpy[4]) and (gauss is None or isinstance(gauss, float))):
            raise ValueError(f"positions go to {WORDS}, a gauss is finite")  # these they take without looking
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"expected the dict that capture_rng gives, got one that does not fit: {error!r}") from error
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    here, wanted = set(_cuda_indices(device)), set(cuda)
    if device is not None and here:
        wanted = set(here)
        if len(cuda) == 1:
            cuda = dict.fromkeys(here, *cuda.values())
    for index in sorted(here & set(cuda)):
        torch.cuda.set_rng_state(cuda[index], index)
    return tuple(f"cuda:{i}" for i in sorted(wanted - (here & set(cuda))))


def _cuda_indices(device: str | torch.device | None) -> list[int]:
    if device is None:
        return list(range(torch.cuda.device_count()))
    device = torch.device(device)
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]


def _hex(state: torch.Tensor) -> str:
    return bytes(state.cpu().numpy()).hex()


def _tensor(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
