"""Batches in a stated order: batch i depends on the seed and on i, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.config import IGNORED_TARGET
from helpers.data._windows import Windows


class Batch(NamedTuple):
    """Rows to train on or to score: token_ids (B, T) int64, targets (B, T) int64, -100 where none is scored."""

    token_ids: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Batches:
    """The batches of a training run, epoch after epoch. `batches[i]` is batch i of the run, however large i is.

    No state, so a run resumes at any batch by its number. Each epoch has an order of its own, drawn from the seed.

    token_ids       (N,) integers, a tensor or an array
    context_length  T
    batch_size      rows B
    stride          of the windows; None means T
    shuffle         False keeps the windows in reading order
    drop_last       False gives an epoch's last batch the rows that are left, which may be fewer than B
    shift           each epoch starts its windows at another place, so that they do not repeat from epoch to epoch

    len(batches)    batches in an epoch
    iteration       over one epoch, the first

    ValueError: too little text for one batch, or sizes below 1.
    """

    token_ids: Tensor | np.ndarray
    context_length: int
    batch_size: int
    stride: int | None = None
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    shift: bool = False
    _epoch: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if len(self) < 1:
            raise ValueError(
                f"{self.n_windows} windows of {self.context_length} ids do not fill a batch of {self.batch_size} rows: "
                "take fewer rows, a shorter context, or drop_last=False"
            )

    @property
    def n_windows(self) -> int:
        """Windows in every epoch."""
        last_offset = self._step - 1 if self.shift else 0
        return len(Windows(self.token_ids, self.context_length, self.stride, last_offset))

    @property
    def _step(self) -> int:
        return self.context_length if self.stride is None else self.stride

    def __len__(self) -> int:
        full, rest = divmod(self.n_windows, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __getitem__(self, i: int) -> Batch:
        if i < 0:
            raise IndexError(f"batches are counted from 0, got {i}")
        epoch, place = divmod(i, len(self))
        windows, order = self._order(epoch)
        return Batch(*windows.rows(order[place * self.batch_size : (place + 1) * self.batch_size]))

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def _order(self, epoch: int) -> tuple[Windows, Tensor]:
        """The windows of an epoch and the order in which they come; the last epoch asked for is kept."""
        if epoch not in self._epoch:
            # two generators' worth of numbers from one: numpy mixes seed and epoch so that no two pairs meet
            state = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1)
            generator = torch.Generator().manual_seed(int(state))
            offset = int(torch.randint(self._step, (), generator=generator)) if self.shift else 0
            windows = Windows(self.token_ids, self.context_length, self.stride, offset)
            order = torch.randperm(self.n_windows, generator=generator) if self.shuffle else torch.arange(len(windows))
            self._epoch.clear()
            self._epoch[epoch] = windows, order
        return self._epoch[epoch]


def scoring_batches(
    token_ids: Tensor | np.ndarray, context_length: int, batch_size: int = 8, stride: int | None = None
) -> Iterator[Batch]:
    """Batches in which every id but the first is a target exactly once: what an honest mean is taken over.

    stride  None means T: neighbouring windows, the tail included. A smaller one scores in each window only the
            targets that the window before has not seen, so that they have at least T - stride ids before them;
            cost grows by T / stride

    ValueError: fewer than two ids, sizes below 1, or a stride above T, which would leave ids out.
    """
    stride = context_length if stride is None else stride
    if len(token_ids) < 2 or token_ids.ndim != 1:
        raise ValueError(f"scoring needs one list of at least 2 ids, got shape {tuple(token_ids.shape)}")
    if min(context_length, batch_size, stride) < 1 or stride > context_length:
        raise ValueError(
            f"expected batch_size >= 1 and 1 <= stride <= context_length, got {batch_size}, {stride}, {context_length}"
        )
    return _scoring_batches(token_ids, context_length, batch_size, stride)


def _scoring_batches(token_ids: Tensor | np.ndarray, T: int, batch_size: int, stride: int) -> Iterator[Batch]:
    last = len(token_ids) - 1  # the last id is no input
    ends = [*range(min(T, last), last, stride), last]  # each window ends where its new targets end
    for first in range(0, len(ends), batch_size):
        some = ends[first : first + batch_size]
        inputs = torch.zeros(len(some), T, dtype=torch.int64)
        targets = torch.full((len(some), T), IGNORED_TARGET)
        for row, end in enumerate(some):
            before = ends[first + row - 1] if first + row else 0
            start = max(end - T, 0)
            if stride == T:  # neighbouring windows: the tail is a short row
                start = before
            n = end - start
            ids = torch.as_tensor(np.asarray(token_ids[start : end + 1]).astype(np.int64))
            inputs[row, :n] = ids[:-1]
            targets[row, before - start : n] = ids[1 + before - start :]
        yield Batch(inputs, targets)
