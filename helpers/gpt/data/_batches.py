"""Batches in a stated order: batch i depends on the seed and on i, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.gpt.config import IGNORED_TARGET
from helpers.gpt.data._windows import Windows, as_int64, check_ids


class Batch(NamedTuple):
    """Rows to train on or to score: token_ids (B, T) int64, targets (B, T) int64, -100 where none is scored."""

    token_ids: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)  # two lists of ids are not compared by ==
class Batches:
    """The batches of a training run, epoch after epoch. `batches[i]` is batch i of the run, however large i is.

    A run resumes at any batch by its number. Each epoch has an order of its own, drawn from the seed and its number;
    the last order drawn is kept, for speed alone.

    token_ids       (N,) integers, a tensor or an array
    context_length  T
    batch_size      rows B
    stride          of the windows; None means T
    shuffle         False keeps the windows in reading order
    drop_last       False gives an epoch's last batch the rows that are left, which may be fewer than B
    shift           each epoch draws where its first window starts, in [0, stride), so that windows do not repeat from
                    epoch to epoch; every epoch has as many windows as fit after the last of these places

    len(batches)    batches in an epoch
    iteration       over one epoch, the first
    n_windows       windows in an epoch

    ValueError: too little text for one batch, sizes below 1, or a seed below 0.
    """

    token_ids: Tensor | np.ndarray
    context_length: int
    batch_size: int
    stride: int | None = None
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    shift: bool = False
    _drawn: dict[int, tuple[Windows, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if len(self) < 1:
            raise ValueError(
                f"{self.n_windows} windows of {self.context_length} ids do not fill a batch of {self.batch_size} rows: "
                "take fewer rows, a shorter context, or drop_last=False"
            )

    @cached_property
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
        """The windows of an epoch and the order in which they come."""
        drawn = self._drawn.get(epoch)
        if drawn is None:
            # mixed, because seed + epoch would give run 1 the orders of run 0, an epoch later
            mixed = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(mixed) >> 1)
            offset = int(torch.randint(self._step, (), generator=generator)) if self.shift else 0
            windows = Windows(self.token_ids, self.context_length, self.stride, offset)
            n = self.n_windows  # the windows of a small offset may be one more
            drawn = windows, torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)
            self._drawn.clear()
            self._drawn[epoch] = drawn
        return drawn


def scoring_batches(
    token_ids: Tensor | np.ndarray, context_length: int, batch_size: int = 8, stride: int | None = None
) -> Iterator[Batch]:
    """Batches in which every id but the first is a target exactly once: what an honest mean is taken over.

    token_ids       (N,) integers, a tensor or an array
    context_length  T
    batch_size      rows B; the last batch has those that are left
    stride          None means T: neighbouring windows. A smaller one scores in each window only the targets that the
                    window before has not seen, each predicted from at least T - stride + 1 ids (from all there are
                    in the first window); cost grows by T / stride
    yields          Batch on the CPU; a window that is shorter than T ends in id 0, and -100 as targets that are not
                    scored

    ValueError: not one list of at least two integers, sizes below 1, or a stride above T, which would leave ids out.
    """
    stride = context_length if stride is None else stride
    check_ids(token_ids)
    if len(token_ids) < 2:
        raise ValueError(f"scoring needs one list of at least 2 ids, got shape {tuple(token_ids.shape)}")
    if min(context_length, batch_size, stride) < 1 or stride > context_length:
        raise ValueError(
            f"expected batch_size >= 1 and 1 <= stride <= context_length, "
            f"got batch_size={batch_size}, stride={stride} and context_length={context_length}"
        )
    return _scoring_batches(token_ids, context_length, batch_size, stride)


def _scoring_batches(token_ids: Tensor | np.ndarray, T: int, batch_size: int, stride: int) -> Iterator[Batch]:
    last = len(token_ids) - 1  # the last id is no input
    ends = [*range(min(T, last), last, stride), last]  # the place of the last target of each window
    spans = list(pairwise([0, *ends]))  # of each window's new targets: from after the first place to the second
    for first in range(0, len(spans), batch_size):
        some = spans[first : first + batch_size]
        inputs = torch.zeros(len(some), T, dtype=torch.int64)
        targets = torch.full((len(some), T), IGNORED_TARGET)
        for row, (before, end) in enumerate(some):
            start = before if stride == T else max(end - T, 0)  # neighbours share nothing: the tail is a short row
            ids = as_int64(token_ids[start : end + 1])
            inputs[row, : end - start] = ids[:-1]
            targets[row, before - start : end - start] = ids[1 + before - start :]
        yield Batch(inputs, targets)
