"""Windows over a list of ids: one list, two views of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Windows:
    """Every window of `context_length` ids whose targets exist, `stride` apart: two views of one list, no copy.

    token_ids       (N,) integers: a tensor, or an array, memory-mapped from a file or not
    context_length  T, inputs per window; its targets are the same ids one place on
    stride          from the start of a window to the start of the next; None means T, which makes every id but the
                    first a target once. A smaller one repeats targets, a larger one leaves ids out
    offset          where the first window starts

    len(windows)          how many there are
    windows.inputs        (n, T) view; windows.targets (n, T) view, shifted by one
    windows.rows(which)   (inputs, targets), each (len(which), T) int64 in memory of their own
    windows.n_targets     ids that are the target of at least one window

    ValueError: not a single list of integers, a list that is too short for one window, sizes below 1.
    Source: Raschka, Build a Large Language Model (From Scratch), section 2.6.
    """

    def __init__(
        self, token_ids: Tensor | np.ndarray, context_length: int, stride: int | None = None, offset: int = 0
    ) -> None:
        stride = context_length if stride is None else stride
        if context_length < 1 or stride < 1 or offset < 0:
            raise ValueError(
                f"context_length and stride must be at least 1 and offset at least 0, "
                f"got {context_length}, {stride} and {offset}"
            )
        check_ids(token_ids)
        if len(token_ids) - offset < context_length + 1:
            raise ValueError(
                f"a window of {context_length} inputs and their targets needs {context_length + 1} ids, got "
                f"{max(len(token_ids) - offset, 0)} from place {offset}: take a shorter context or a longer text"
            )
        self.token_ids, self.context_length, self.stride, self.offset = token_ids, context_length, stride, offset
        self._pairs = _sliding(token_ids[offset:], context_length + 1, stride)  # (n, T + 1)

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def inputs(self) -> Tensor | np.ndarray:
        return self._pairs[:, :-1]

    @property
    def targets(self) -> Tensor | np.ndarray:
        return self._pairs[:, 1:]

    @property
    def n_targets(self) -> int:
        return (len(self) - 1) * min(self.stride, self.context_length) + self.context_length

    def rows(self, which: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self._pairs, Tensor):
            pairs = self._pairs[torch.as_tensor(which, dtype=torch.int64)]
        else:
            pairs = self._pairs[np.asarray(which, dtype=np.int64)]
        pairs = as_int64(pairs)
        return pairs[:, :-1], pairs[:, 1:]


def check_ids(token_ids: Tensor | np.ndarray) -> None:
    """ValueError: not one list (N,) of integers, as a tensor or an array."""
    if not isinstance(token_ids, Tensor | np.ndarray):
        raise ValueError(f"expected a tensor or an array of ids, got a {type(token_ids).__name__}: torch.tensor(ids)")
    if isinstance(token_ids, Tensor):
        other = token_ids.is_floating_point() or token_ids.is_complex() or token_ids.dtype == torch.bool
    else:
        other = token_ids.dtype.kind not in "iu"
    if token_ids.ndim != 1 or other:
        raise ValueError(f"expected one list (N,) of integers, got {tuple(token_ids.shape)} of {token_ids.dtype}")


def as_int64(token_ids: Tensor | np.ndarray) -> Tensor:
    """The same ids as an int64 tensor, which is what an embedding takes."""
    return token_ids.long() if isinstance(token_ids, Tensor) else torch.from_numpy(token_ids.astype(np.int64))


def _sliding(token_ids: Tensor | np.ndarray, width: int, stride: int) -> Tensor | np.ndarray:
    if isinstance(token_ids, Tensor):
        return token_ids.unfold(0, width, stride)
    return np.lib.stride_tricks.sliding_window_view(token_ids, width)[::stride]
