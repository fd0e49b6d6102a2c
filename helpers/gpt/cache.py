"""The key-value cache: what attention computed for the tokens read so far, so that a new token costs one position.

Axes: B batch, T tokens, H heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


class KeyValueCache:
    """Keys and values of every layer for up to `capacity` tokens a row; rows may be of different lengths.

    n_layers, n_heads, head_dim  of the model: `model.new_cache(batch_size, capacity)` fills them in
    dtype, device  of the model's activations

    Its memory is 2 * n_layers * B * H * capacity * D numbers, taken at once and never again: `memory_bytes`.
    Once a text outgrows the context its window slides, every token gets another position, and a model with learned
    positions has to compute all keys and values anew: the cache ends there.
    Source: Shazeer 2019, "Fast Transformer Decoding", section 2.4.
    """

    def __init__(
        self,
        n_layers: int,
        batch_size: int,
        n_heads: int,
        capacity: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        if min(n_layers, batch_size, n_heads, capacity, head_dim) < 1:
            raise ValueError(
                "expected at least one layer, row, head, token and number a head, "
                f"got {n_layers}, {batch_size}, {n_heads}, {capacity} and {head_dim}"
            )
        shape = (n_layers, batch_size, n_heads, capacity, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.lengths = [0] * batch_size

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    @property
    def memory_bytes(self) -> int:
        return 2 * self.keys.numel() * self.keys.element_size()

    def begin(self, n_new: int) -> Reading:
        """Room for `n_new` more tokens in every row. ValueError: they do not fit, or gradients are recorded."""
        if torch.is_grad_enabled():
            raise ValueError("a cache is for reading without gradients, which would end at it: use torch.no_grad()")
        longest = max(self.lengths)
        if longest + n_new > self.capacity:
            raise ValueError(f"{longest} tokens are cached and {n_new} more do not fit its capacity of {self.capacity}")
        if len(set(self.lengths)) == 1:
            columns = torch.arange(longest, longest + n_new, device=self.keys.device)[None]  # (1, T): all rows alike
        else:
            starts = torch.tensor(self.lengths, device=self.keys.device)
            columns = starts[:, None] + torch.arange(n_new, device=self.keys.device)  # (B, T)
        return Reading(self, columns, longest, longest + n_new)

    def cut(self, lengths: list[int]) -> None:
        """Forget what was read beyond `lengths`, one per row, such as the padding of the shorter prompts.

        ValueError: another number of rows, or a row longer than what was read.
        """
        if len(lengths) != len(self.lengths) or any(
            not 0 <= new <= old for new, old in zip(lengths, self.lengths, strict=True)
        ):
            raise ValueError(f"expected one length per row, at most {self.lengths}, got {lengths}")
        self.lengths = list(lengths)


@dataclass(frozen=True)
class Reading:
    """One pass of new tokens through the layers, begun by `KeyValueCache.begin`.

    positions  (1 or B, T) where in its text each new token stands, the first at 0; one row if all are equally long
    longest, end  columns of the cache that were in use before, and that are now
    """

    cache: KeyValueCache
    positions: Tensor
    longest: int
    end: int

    def layer(self, index: int) -> Past:
        return Past(self, self.cache.keys[index], self.cache.values[index], self._mask)

    @cached_property
    def _mask(self) -> Tensor | None:
        """(1 or B, 1, T, keys) true where a new token may look; None where a causal mask, or no mask, says the same."""
        if self.longest == 0 or self.positions.numel() == 1:
            return None
        columns = torch.arange(self.end, device=self.positions.device)
        return (columns <= self.positions[..., None])[:, None]

    def finish(self) -> None:
        """Every layer has read: the new tokens count as cached."""
        n_new = self.positions.shape[1]
        self.cache.lengths = [length + n_new for length in self.cache.lengths]


@dataclass(frozen=True)
class Past:
    """What one layer knows of the tokens before the new ones: keys and values (B, H, capacity, D)."""

    reading: Reading
    keys: Tensor
    values: Tensor
    mask: Tensor | None

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Store the new keys and values; the new queries look at all up to their own: (B, H, T, D) each and back."""
        self._store(self.keys, keys)
        self._store(self.values, values)
        end, first = self.reading.end, self.reading.longest == 0
        if not first:
            keys, values = self.keys[:, :, :end], self.values[:, :, :end]
        kind = queries.dtype
        if kind == torch.bfloat16 and queries.shape[2] == 1 and queries.device.type == "cpu":
            # for one query, float32's kernel and the way there take half as long as bfloat16's own
            queries, keys, values = queries.float(), keys.float(), values.float()
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=self.mask, is_causal=first)
        return mixed.to(kind)

    def _store(self, store: Tensor, new: Tensor) -> None:
        positions = self.reading.positions
        if len(positions) == 1:
            store[:, :, self.reading.longest : self.reading.end] = new
        else:
            store.scatter_(2, positions[:, None, :, None].expand_as(new), new.to(store.dtype))
