"""The key-value cache: what attention computed for the tokens read so far, so that a new token costs one position.

Notebook 05 builds one by hand. Axes: B batch, T new tokens, H heads, D head size.
"""

import torch
from torch import Tensor

from helpers.gpt.config import require_whole


class KeyValueCache:
    """Keys and values of every layer for up to `capacity` tokens a sequence; sequences may differ in length.

    keys, values  (n_layers, B, H, capacity, D) each, where H counts the heads of keys and values; memory that is
                  taken once: `model.new_cache(batch_size, capacity)`
    lengths       B whole numbers: how many tokens of each sequence are cached
    kind          dtype and device of the model's activations

    To read T new tokens call `positions(T)`, then `extend` in each layer, then `advance(T)`, as `GPT.hidden` does.
    The cache ends at the context: then the window slides, and every token gets another position, keys and values.
    ValueError: a size below 1.
    Source: Shazeer 2019, "Fast Transformer Decoding", section 2.4.
    """

    def __init__(
        self, n_layers: int, batch_size: int, n_heads: int, capacity: int, head_dim: int, **kind: object
    ) -> None:
        require_whole(n_layers=n_layers, batch_size=batch_size, n_heads=n_heads, capacity=capacity, head_dim=head_dim)
        self.keys = torch.zeros(n_layers, batch_size, n_heads, capacity, head_dim, **kind)
        self.values = torch.zeros_like(self.keys)
        self.lengths = [0] * batch_size

    @property
    def memory_bytes(self) -> int:
        return 2 * self.keys.numel() * self.keys.element_size()

    def positions(self, n_new: int) -> tuple[Tensor, Tensor | None]:
        """Where the next `n_new` tokens stand, (B, T), and which cached tokens each may look at, (B, 1, T, keys) bool.

        None in place of the second: all up to itself. B is 1 where all texts are equally long.
        ValueError: they do not fit, or gradients are recorded, which would end at the cache.
        """
        if torch.is_grad_enabled():
            raise ValueError("a cache is for reading without gradients, which would end at it: use torch.no_grad()")
        longest, capacity = max(self.lengths), self.keys.shape[3]
        if longest + n_new > capacity:
            raise ValueError(f"{longest} tokens are cached and {n_new} more do not fit its capacity of {capacity}")
        alike = len(set(self.lengths)) == 1
        starts = torch.tensor(self.lengths[:1] if alike else self.lengths, device=self.keys.device)
        positions = starts[:, None] + torch.arange(n_new, device=starts.device)
        if longest == 0 or (alike and n_new == 1):
            return positions, None
        cached = torch.arange(longest + n_new, device=starts.device)
        return positions, (cached <= positions[..., None])[:, None]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values of the new tokens, (B, H, T, D) each, and give those of all tokens so far."""
        start, n_new = max(self.lengths), keys.shape[2]
        both = []
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            if len(set(self.lengths)) == 1:
                store[:, :, start : start + n_new] = new
            else:
                for row, length in enumerate(self.lengths):
                    store[row, :, length : length + n_new] = new[row]
            both.append(store[:, :, : start + n_new])
        return both[0], both[1]

    def advance(self, n_new: int) -> None:
        """Every layer has read them: the new tokens count as cached."""
        self.lengths = [length + n_new for length in self.lengths]

    def cut(self, lengths: list[int]) -> None:
        """Forget what was read beyond `lengths`, one per sequence, such as the padding of the shorter prompts.
        ValueError: another number of them, or one above what was read."""
        pairs = zip(lengths, self.lengths, strict=False)
        if len(lengths) != len(self.lengths) or not all(0 <= new <= old for new, old in pairs):
            raise ValueError(f"expected one length per sequence, at most {self.lengths}, got {lengths}")
        self.lengths = list(lengths)
