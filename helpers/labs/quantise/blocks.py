"""Round to nearest, block by block: 32 weights share a scale and a minimum, and each keeps a code of a few bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.gpt import require_whole

BLOCK = 32  # weights that share a scale
SCALE_BITS = 16  # of a scale, and of a minimum: float16


@dataclass(frozen=True)
class Blocks:
    """What is stored of a matrix. A weight is scale * code + minimum; without minima, scale * code."""

    codes: Tensor  # (n_blocks, 32) uint8, 0 to 2**n_bits - 1; without minima int8, from -(2**(n_bits - 1) - 1) up
    scales: Tensor  # (n_blocks, 1) float16
    minima: Tensor | None  # (n_blocks, 1) float16


def quantise(weights: Tensor, n_bits: int, *, minimum: bool = True) -> Blocks:
    """Each weight as the nearest of the levels of its block.

    weights  any shape, of a multiple of 32 numbers; blocks run along the last axis
    n_bits   of a code, from 2 to 8
    minimum  True: the 2**n_bits levels run evenly from the block's smallest weight to its largest.
             False: 2**n_bits - 1 levels run evenly around 0, as far as the largest size

    ValueError: no multiple of 32, NaN or infinity, numbers too large for float16, or n_bits out of range.
    Source: ggml's Q4_1 and Q5_1 (with a minimum, 4 and 5 bits) and Q8_0 (without, 8 bits), to which it is equal.
    """
    require_whole(n_bits=n_bits, at_least=2)
    if n_bits > 8 or weights.numel() % BLOCK or not weights.isfinite().all():
        raise ValueError(
            f"expected a multiple of {BLOCK} finite weights and n_bits from 2 to 8, got {weights.numel()} of shape "
            f"{tuple(weights.shape)} and {n_bits}"
        )
    blocks = weights.detach().float().reshape(-1, BLOCK)
    if minimum:
        lowest, highest = blocks.aminmax(dim=1, keepdim=True)
        scales, n_levels = (highest - lowest) / (2**n_bits - 1), 2**n_bits
        # half and above is rounded up, as ggml does it
        codes = ((blocks - lowest) * _inverse(scales) + 0.5).floor().clamp(0, n_levels - 1).to(torch.uint8)
    else:
        lowest, scales = None, blocks.abs().amax(dim=1, keepdim=True) / (2 ** (n_bits - 1) - 1)
        steps = blocks * _inverse(scales)
        codes = (steps.sign() * (steps.abs() + 0.5).floor()).to(torch.int8)  # half is rounded away from 0
    stored = Blocks(codes, scales.half(), None if lowest is None else lowest.half())
    if not (stored.scales.isfinite().all() and (lowest is None or stored.minima.isfinite().all())):
        raise ValueError(f"weights up to {blocks.abs().max():.3g} need a scale that float16 does not hold")
    return stored


def restore(stored: Blocks, shape: tuple[int, ...]) -> Tensor:
    """The weights that the blocks stand for, float32."""
    weights = stored.codes.float() * stored.scales.float()
    return (weights if stored.minima is None else weights + stored.minima.float()).view(shape)


def rounded(weights: Tensor, n_bits: int, *, minimum: bool = True) -> Tensor:
    """There and back: what is left of the weights after `quantise`. ValueError: as there."""
    return restore(quantise(weights, n_bits, minimum=minimum), weights.shape).to(weights)


def bits_per_weight(n_bits: int, *, minimum: bool = True) -> float:
    """What a weight takes with its part of the scale and the minimum."""
    return n_bits + SCALE_BITS * (1 + minimum) / BLOCK


def _inverse(scales: Tensor) -> Tensor:
    """1 / scale; 0 where all weights of a block are equal."""
    return torch.where(scales == 0, 0, 1 / scales)
