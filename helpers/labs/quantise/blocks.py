"""Round to nearest, block by block: 32 weights share a scale and a minimum, and each keeps a code of a few bits."""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.gpt import require_kind, require_whole

BLOCK = 32  # weights that share a scale
SCALE_BITS = 16  # of a scale, and of a minimum: float16


def rounded(weights: Tensor, n_bits: int, *, minimum: bool = True) -> Tensor:
    """Each weight as the nearest of the levels of its block: scale * code + minimum, both float16.

    weights  any shape, of a multiple of 32 numbers; blocks run along the last axis
    n_bits   of a code, from 2 to 8
    minimum  True: the 2**n_bits levels run evenly from the block's smallest weight to its largest.
             False: 2**n_bits - 1 levels run evenly around 0, as far as the largest size

    ValueError: no multiple of 32, NaN or infinity, numbers too large for float16, or n_bits out of range.
    Source: ggml's Q4_1 and Q5_1 (with a minimum, 4 and 5 bits) and Q8_0 (without, 8 bits), to which it is equal.
    """
    require_kind(Tensor, weights=weights)
    require_whole(n_bits=n_bits, at_least=2)
    if n_bits > 8 or weights.numel() % BLOCK or not weights.isfinite().all():
        raise ValueError(
            f"expected a multiple of {BLOCK} finite weights and n_bits from 2 to 8, got {weights.numel()} of shape "
            f"{tuple(weights.shape)} and {n_bits}"
        )
    blocks = weights.detach().float().reshape(-1, BLOCK)
    if minimum:
        lowest, highest = blocks.aminmax(dim=1, keepdim=True)
        scales = (highest - lowest) / (2**n_bits - 1)
        # half and above is rounded up, as ggml does it
        codes = ((blocks - lowest) * _inverse(scales) + 0.5).floor().clamp(0, 2**n_bits - 1)
    else:
        lowest, scales = torch.zeros(()), blocks.abs().amax(dim=1, keepdim=True) / (2 ** (n_bits - 1) - 1)
        steps = blocks * _inverse(scales)
        codes = steps.sign() * (steps.abs() + 0.5).floor()  # half is rounded away from 0
    scales, lowest = scales.half(), lowest.half()
    if not (scales.isfinite().all() and lowest.isfinite().all()):
        raise ValueError(f"weights up to {blocks.abs().max():.3g} need a scale that float16 does not hold")
    return (codes * scales.float() + lowest.float()).view(weights.shape).to(weights)


def bits_per_weight(n_bits: int) -> float:
    """What a weight takes with its part of the scale and the minimum."""
    return n_bits + 2 * SCALE_BITS / BLOCK


def _inverse(scales: Tensor) -> Tensor:
    """1 / scale; 0 where all weights of a block are equal."""
    return torch.where(scales == 0, 0, 1 / scales)
