"""The error bar of a mean whose values are not independent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Interval(NamedTuple):
    """A mean and the range in which it would have fallen nineteen times in twenty."""

    mean: float
    low: float
    high: float


def block_bootstrap(values: Tensor, block: int, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of a series whose neighbours are alike, with its 95 % interval: blocks are drawn, not single values.

    values  (N,) in reading order, such as the surprise at each token
    block   neighbours that are drawn together; 1 pretends that they were independent. It should be longer than the
            likeness reaches and much shorter than N: a single block of N says nothing, and its interval is empty
    seed    of the draws alone

    ValueError: not one series, blocks that are shorter than 1 or longer than the series, or no resample.
    Source: Kuensch 1989, "The Jackknife and the Bootstrap for General Stationary Observations".
    """
    if values.ndim != 1 or not 1 <= block <= len(values) or n_resamples < 1:
        raise ValueError(
            f"expected values (N,), 1 <= block <= N and n_resamples >= 1, "
            f"got {tuple(values.shape)}, {block} and {n_resamples}"
        )
    values = values.detach().cpu().double()
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    N, n_starts = len(values), len(values) - block + 1
    lengths = torch.full((-(-N // block),), block)
    lengths[-1] -= lengths.sum() - N  # a resample is as long as the series, or its mean would vary less
    generator = torch.Generator().manual_seed(seed)
    means = values.new_empty(n_resamples)
    for i in range(n_resamples):  # one by one: all at once could take gigabytes
        starts = torch.randint(n_starts, lengths.shape, generator=generator)
        means[i] = (sums[starts + lengths] - sums[starts]).sum() / N
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return Interval(values.mean().item(), low, high)
