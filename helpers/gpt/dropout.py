"""Dropout that is cheap on a CPU: a mask from 16-bit random numbers, and causal attention with its weights dropped.

On a GPU torch's own kernels do both, fused; on a CPU torch draws each number of a mask as a whole double, and attention
with dropout falls back to one product after the other, each of which keeps a (B, H, T, T) result for the way back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEVELS = 2**16  # values of a 16-bit number: the drop rate is met to half a level, 1 / 131,072
QUERY_ROWS = 64  # queries that are scored at once against the keys up to them: the scores stay in the cache


def keep_mask(shape: tuple[int, ...], drop_rate: float) -> Tensor:
    """Which numbers stay: a bool tensor on the CPU, each True with probability 1 - `effective_rate(drop_rate)`.

    The numbers come from torch's global generator, four from each of its 64-bit draws.
    """
    n = math.prod(shape)
    levels = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]
    return (levels >= _n_dropped_levels(drop_rate) - LEVELS // 2).view(shape)


def effective_rate(drop_rate: float) -> float:
    """`drop_rate` rounded to a multiple of 1 / LEVELS: how often `keep_mask` really drops, which the scale allows for.

    ValueError: a rate outside [0, 1), after rounding.
    """
    return _n_dropped_levels(drop_rate) / LEVELS


def _n_dropped_levels(drop_rate: float) -> int:
    if not 0 <= drop_rate < 1 or round(drop_rate * LEVELS) == LEVELS:
        raise ValueError(f"drop_rate must be in [0, 1) and not within half of 1/{LEVELS} of 1, got {drop_rate}")
    return round(drop_rate * LEVELS)


class Dropout(nn.Dropout):
    """`nn.Dropout`, with the cheap mask where it trains on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu" or not 0 < self.p < 1:
            return super().forward(x)
        return _Dropped.apply(x, self.p)


def causal_attention(
    queries: Tensor, keys: Tensor, values: Tensor, drop_rate: float = 0.0, same_segment: Tensor | None = None
) -> Tensor:
    """softmax(queries @ keys.T / sqrt(D)) @ values, each query seeing the keys up to its own place.

    queries, keys, values  (B, H, T, D) floating point; under autocast they are brought to its dtype
    drop_rate              share of the weights that are dropped, the rest scaled up: 0 outside training
    same_segment           (B, 1, T, T) bool, true where query and key may meet; each token must meet itself. It
                           narrows what causality leaves; None narrows nothing
    return                 (B, H, T, D)

    ValueError: shapes that differ or are not (B, H, T, D), another mask, or a drop rate outside [0, 1).
    Source: Vaswani et al. 2017, section 3.2; Dao et al. 2022 (FlashAttention) for making the weights again on the way
    back instead of keeping them.
    """
    if queries.ndim != 4 or not queries.shape == keys.shape == values.shape:
        raise ValueError(
            f"expected queries, keys and values of one shape (B, H, T, D), got {tuple(queries.shape)}, "
            f"{tuple(keys.shape)} and {tuple(values.shape)}"
        )
    B, _, T, _ = queries.shape
    if same_segment is not None and (same_segment.shape != (B, 1, T, T) or same_segment.dtype != torch.bool):
        got = f"{tuple(same_segment.shape)} of {same_segment.dtype}"
        raise ValueError(f"expected same_segment ({B}, 1, {T}, {T}) of torch.bool, got {got}")
    effective_rate(drop_rate)  # the range is checked on every device alike
    device = queries.device.type
    if device != "cpu" or drop_rate == 0:
        if same_segment is None:
            return F.scaled_dot_product_attention(queries, keys, values, dropout_p=drop_rate, is_causal=True)
        return F.scaled_dot_product_attention(queries, keys, values, same_segment.tril(), dropout_p=drop_rate)
    if torch.is_autocast_enabled(device):
        queries, keys, values = (x.to(torch.get_autocast_dtype(device)) for x in (queries, keys, values))
    return _DroppedAttention.apply(queries, keys, values, drop_rate, same_segment)


class _Dropped(torch.autograd.Function):
    """x with a share of its numbers set to 0 and the rest scaled up; a byte for each is kept for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, drop_rate: float) -> Tensor:
        keep = keep_mask(x.shape, drop_rate)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - effective_rate(drop_rate))
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


class _DroppedAttention(torch.autograd.Function):
    """Causal attention with dropped weights, QUERY_ROWS queries at a time; of the weights only the masks are kept."""

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, drop_rate: float, same_segment: Tensor | None
    ) -> Tensor:
        B, H, T, D = queries.shape
        q, k, v = (x.reshape(B * H, T, D) for x in (queries, keys, values))
        ctx.scale, ctx.same_segment = 1 / (1 - effective_rate(drop_rate)), same_segment
        mixed = q.new_empty(B, T, H, D)  # the order in which the heads are joined afterwards
        masks = []
        for start, end, weights in _blocks_of_weights(q, k, same_segment):
            masks.append(keep_mask(weights.shape, drop_rate))
            block = (weights * masks[-1]) @ v[:, :end]  # (B * H, rows, D)
            torch.mul(block.view(B, H, -1, D).transpose(1, 2), ctx.scale, out=mixed[:, start:end])
        ctx.save_for_backward(q, k, v, *masks)
        return mixed.transpose(1, 2)

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *masks = ctx.saved_tensors
        shape, width = grad.shape, q.shape[-1]
        grad = (grad * ctx.scale).reshape(q.shape)
        summed = torch.promote_types(q.dtype, torch.float32)  # each key's gradient is a sum over blocks
        grad_q, grad_k, grad_v = (
            torch.empty_like(q),
            torch.zeros_like(k, dtype=summed),
            torch.zeros_like(v, dtype=summed),
        )
        for (start, end, weights), mask in zip(_blocks_of_weights(q, k, ctx.same_segment), masks, strict=True):
            keep, of_block = mask.to(q.dtype), grad[:, start:end]
            grad_v[:, :end] += (weights * keep).transpose(1, 2) @ of_block
            of_weights = (of_block @ v[:, :end].transpose(1, 2)).mul_(keep)
            # the softmax's own rule: w * (g - sum(w * g)), then the division of the scores by sqrt(D)
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, q.dtype).mul_(width**-0.5)
            torch.bmm(of_scores, k[:, :end], out=grad_q[:, start:end])
            grad_k[:, :end] += of_scores.transpose(1, 2) @ q[:, start:end]
        return grad_q.view(shape), grad_k.to(k.dtype).view(shape), grad_v.to(v.dtype).view(shape), None, None


def _blocks_of_weights(q: Tensor, k: Tensor, same_segment: Tensor | None) -> Any:
    """(start, end, attention weights (N, end - start, end) of queries start to end) for q and k of shape (N, T, D).

    same_segment  (B, 1, T, T) or None; N is a multiple of B
    """
    T, D = q.shape[1:]
    future = q.new_full((T, T), -math.inf).triu(1)
    for start in range(0, T, QUERY_ROWS):
        end = min(start + QUERY_ROWS, T)
        scores = torch.baddbmm(future[start:end, :end], q[:, start:end], k[:, :end].transpose(1, 2), alpha=D**-0.5)
        if same_segment is not None:
            by_row = scores.view(len(same_segment), -1, end - start, end)  # (B, H, rows, end)
            by_row.masked_fill_(~same_segment[:, :, start:end, :end], -math.inf)
        yield start, end, torch.softmax(scores, dim=-1)
