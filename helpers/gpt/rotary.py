"""Positions as angles, by which queries and keys are turned: what a Llama has in place of GPT-2's position embedding.

Notebook 11 teaches them; whoever reads 01 to 05 may leave this file out.
"""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]  # cos and sin of each pair's angle, (T, 1, D / 2), or (B, T, 1, D / 2)


def rotation_at(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """How the D / 2 pairs of a head turn at (T,) or (B, T) positions: the first by a radian a token, the last by almost
    1 / base."""
    speeds = 1 / base ** (torch.arange(0, head_dim, 2, device=positions.device) / head_dim)  # (D / 2,) radians a token
    angles = positions[..., None, None] * speeds  # (T, 1, D / 2), or (B, T, 1, D / 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation, pairs: str) -> Tensor:
    """Each pair of numbers of (B, T, heads, D), seen as a point in the plane, turned by its angle.

    A product of a turned query and a turned key depends on their positions through the distance alone.
    Source: Su et al. 2021 (RoFormer), section 3.4.
    """
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1) if pairs == "adjacent" else x.chunk(2, dim=-1)  # (..., D / 2)
    cos, sin = rotation
    turned = a * cos - b * sin, a * sin + b * cos
    return (torch.stack(turned, -1).flatten(-2) if pairs == "adjacent" else torch.cat(turned, -1)).to(x.dtype)


def halves_to_adjacent(rows: Tensor, n_heads: int) -> Tensor:
    """The same projection for the other order of pairs: rows (n_heads * D, ...) of queries or keys, a head's row
    i + D / 2 brought next to its row i. What "halves" computes with `rows`, "adjacent" computes with the result."""
    return rows.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).reshape(rows.shape)
