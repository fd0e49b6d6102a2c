"""One process or several that train the same model: who am I, and what do we sum?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """The processes of a run. Alone, `rank` is 0 of `count` 1, and sums are what they were.

    Source: Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> Workers:
        """Of the process group that this process has joined, if any."""
        joined = dist.is_available() and dist.is_initialized()
        return cls(dist.get_rank(), dist.get_world_size()) if joined else cls()

    def share(self, rows: Tensor) -> Tensor:
        """This worker's rows of a batch: every `count`-th one, from `rank` on."""
        return rows[self.rank :: self.count]

    def total(self, *values: float, device: torch.device) -> list[float]:
        """The sum of each value over all workers, in float64; every worker gets it."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(summed)
        return summed.tolist()
