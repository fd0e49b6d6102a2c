"""The random number generators of a run as plain JSON: Python, numpy's global one, torch on CPU and on each GPU."""

from __future__ import annotations

import math
import random

import numpy as np
import torch

WORDS = 624  # of 32 bits in the state of a Mersenne Twister, the generator of Python and of numpy's global functions


def capture_rng(device: str | torch.device | None = None) -> dict:
    """Where every generator stands now.

    device   None: every CUDA device that this process can see; "cuda:1": that one; "cpu": none
    return   JSON dict; the CPU's three generators always, those of GPUs under "cuda", by index

    Source: Matsumoto & Nishimura 1998 (Mersenne Twister), for the 624 words.
    """
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, numpy_gauss = np.random.get_state()
    return {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "name": name,
            "words": key.tolist(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(numpy_gauss),
        },
        "torch": _hex(torch.get_rng_state()),
        "cuda": {str(i): _hex(torch.cuda.get_rng_state(i)) for i in _cuda_indices(device)},
    }


def restore_rng(rng: dict, device: str | torch.device | None = None) -> tuple[str, ...]:
    """Put every generator back where `capture_rng` found it; all are looked at before any is touched.

    rng      what `capture_rng` gave
    device   None: each CUDA device gets the state of its index; "cuda:1": that one does, or, where a single state of
             another index was saved, gets that one; "cpu": none does
    return   devices whose draws cannot be repeated, such as ("cuda:1",): no state of theirs, or they are not here

    ValueError: not what `capture_rng` gives.
    """
    try:
        python = (rng["python"]["version"], tuple(rng["python"]["words"]), rng["python"]["gauss"])
        random.Random().setstate(python)  # refuses what is not a state
        numpy = rng["numpy"]
        legacy = (numpy["name"], numpy["words"], numpy["position"], numpy["has_gauss"], numpy["gauss"])
        np.random.RandomState().set_state(legacy)
        cpu = _tensor(rng["torch"])
        torch.Generator().set_state(cpu)
        cuda = {int(i): _tensor(text) for i, text in rng["cuda"].items()}
        _check_rest(python[2], numpy["position"], numpy["gauss"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"expected the dict that capture_rng gives, got one that does not fit: {error!r}") from error
    random.setstate(python)
    np.random.set_state(legacy)
    torch.set_rng_state(cpu)
    here, wanted = set(_cuda_indices(device)), set(cuda)
    if device is not None and here:
        wanted = set(here)
        if len(cuda) == 1:
            cuda = dict.fromkeys(here, *cuda.values())
    for index in sorted(here & set(cuda)):
        torch.cuda.set_rng_state(cuda[index], index)
    return tuple(f"cuda:{i}" for i in sorted(wanted - (here & set(cuda))))


def _check_rest(gauss: float | None, position: int, numpy_gauss: float) -> None:
    """What the generators themselves take without looking."""
    if gauss is not None and not isinstance(gauss, float):
        raise ValueError(f"Python's gauss must be a float or None, got {gauss!r}")
    if not 0 <= position <= WORDS or not math.isfinite(numpy_gauss):
        raise ValueError(
            f"numpy: expected a position in [0, {WORDS}] and a finite gauss, got {position}, {numpy_gauss}"
        )


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
