"""What several ranks tell each other in an update, how much of it they wait for, and when memory demands sharding."""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.gpt import require_number, require_one_of, require_whole
from helpers.labs.budget.activations import FLOAT32

MOMENTS = {"adamw": 2, "sgd": 0}  # float32 numbers that the optimizer keeps per parameter
BYTES_PER_PARAMETER = FLOAT32 * (2 + MOMENTS["adamw"])  # weight, gradient and AdamW's moments
BYTES_PER_GBIT = 1e9 / 8

INTERCONNECTS = {  # what joins two ranks -> bytes a second in one direction, nominal; programs reach some 70 to 90 %
    "NVLink, H100": 450e9,  # NVIDIA H100 datasheet: 900 GB/s, both directions together
    "NVLink, A100": 300e9,  # NVIDIA A100 datasheet: 600 GB/s, both directions together
    "PCIe 4.0 x16": 16 * 16e9 * 128 / 130 / 8,  # PCI-SIG: 16 lanes of 16 GT/s, 128 of 130 bits
    "InfiniBand 100 Gb/s": 100 * BYTES_PER_GBIT,  # InfiniBand Trade Association: EDR, four lanes
    "Ethernet 10 Gb/s": 10 * BYTES_PER_GBIT,  # IEEE 802.3ae
    "Ethernet 1 Gb/s": 1 * BYTES_PER_GBIT,  # IEEE 802.3ab
}


def all_reduce_bytes(n_params: int, world_size: int) -> float:
    """What each rank sends, and receives at the same time, until all have the sum of all float32 gradients, in a ring.

    (n - 1) parts of size / n until every part is summed somewhere, and as many again until every sum is everywhere:
    below twice the size, however many ranks there are.

    ValueError: a number that is not whole or below 1.
    Source: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    require_whole(n_params=n_params, world_size=world_size)
    return 2 * (world_size - 1) / world_size * n_params * FLOAT32


@dataclass(frozen=True)
class Scaling:
    """An update of several ranks, in seconds: what each computes, and what each sends, as if nothing else went on."""

    compute_seconds: float
    communication_seconds: float

    @property
    def efficiency(self) -> float:
        """Share of n times one rank's speed, where messages wait until the arithmetic is done: in (0, 1]."""
        return self.compute_seconds / (self.compute_seconds + self.communication_seconds)


def scaling(n_params: int, tokens_per_step: int, tokens_per_s: float, world_size: int, interconnect: str) -> Scaling:
    """How well several ranks share an update by an all-reduce, when each has as many tokens as one had alone.

    tokens_per_step  that one rank reads between two updates, micro-batches together
    tokens_per_s     of one rank alone
    interconnect     a name in INTERCONNECTS; latency is left out

    ValueError: a size below 1, a speed not above 0, or an unknown interconnect.
    Source: Li et al. 2020 (PyTorch Distributed), section 3.2.3.
    """
    require_whole(tokens_per_step=tokens_per_step)
    require_number(tokens_per_s=tokens_per_s)
    require_one_of(INTERCONNECTS, interconnect=interconnect)
    communication = all_reduce_bytes(n_params, world_size) / INTERCONNECTS[interconnect]
    return Scaling(tokens_per_step / tokens_per_s, communication)


@dataclass(frozen=True)
class RankBytes:
    """Of weights, gradients and moments on each rank: whole on every one (DDP), or sharded (FSDP)."""

    replicated: int
    sharded: int


def bytes_per_rank(n_params: int, world_size: int, gathered_params: int = 0) -> RankBytes:
    """Bytes on each rank for AdamW in float32 under DDP and under full sharding; activations come on top in both.

    gathered_params  numbers in the units that are whole at the moment, such as the embeddings and one block

    ValueError: sizes that are not whole or below 1 (gathered_params: below 0), more gathered than there are.
    Source: Rajbhandari et al. 2020 (ZeRO), sections 3.1 and 5.3.
    """
    require_whole(n_params=n_params, world_size=world_size)
    require_whole(at_least=0, gathered_params=gathered_params)
    if gathered_params > n_params:
        raise ValueError(f"gathered_params must be at most n_params = {n_params}, got {gathered_params}")
    gathered = 2 * FLOAT32 * gathered_params if world_size > 1 else 0
    shard = BYTES_PER_PARAMETER * math.ceil(n_params / world_size)
    return RankBytes(BYTES_PER_PARAMETER * n_params, shard + gathered)


def replicated_limit(available_bytes: int) -> int:
    """The largest model, in parameters, that a GPU trains unsharded with AdamW, before any activation."""
    require_whole(available_bytes=available_bytes)
    return available_bytes // BYTES_PER_PARAMETER


def ranks_needed(n_params: int, available_bytes: int, gathered_params: int = 0) -> int:
    """The fewest GPUs over which weights, gradients and AdamW's moments must be sharded; 1 where they fit whole.

    ValueError: as `bytes_per_rank`, or what is gathered leaves no room for a shard: then no number is enough.
    """
    whole = bytes_per_rank(n_params, 1, gathered_params).replicated
    require_whole(available_bytes=available_bytes)
    if whole <= available_bytes:
        return 1
    most = (available_bytes - 2 * FLOAT32 * gathered_params) // BYTES_PER_PARAMETER  # parameters in a shard
    if most < 1:
        raise ValueError(
            f"no number of GPUs is enough: {available_bytes} bytes hold not even {gathered_params} gathered "
            "parameters with their gradients and a shard; take smaller units"
        )
    return math.ceil(n_params / most)
