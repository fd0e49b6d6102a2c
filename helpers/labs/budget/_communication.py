"""What several workers tell each other in an update, how much of it they wait for, and when memory demands shards.

The time of a transfer is latency + bytes / bandwidth: Hockney 1994, "The communication challenge for MPP".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.labs.budget._cost import _require_positive
from helpers.labs.budget._tensors import FLOAT32

MOMENTS = 2  # AdamW's, per parameter
FORWARD_SHARE = 1 / 3  # of an update's arithmetic: the way back multiplies twice as often
BYTES_PER_GBIT = 1e9 / 8


@dataclass(frozen=True)
class Link:
    """What joins two workers. `bytes_per_s` is nominal, in one direction; programs reach some 70 to 90 % of it."""

    name: str
    bytes_per_s: float
    source: str

    def __post_init__(self) -> None:
        _require_positive(bytes_per_s=self.bytes_per_s)


LINKS = {
    link.name: link
    for link in (
        Link("NVLink, H100", 450e9, "NVIDIA H100 datasheet: 900 GB/s, both directions together"),
        Link("NVLink, A100", 300e9, "NVIDIA A100 datasheet: 600 GB/s, both directions together"),
        Link("PCIe 4.0 x16", 16 * 16e9 * 128 / 130 / 8, "PCI-SIG: 16 lanes of 16 GT/s, 128 of 130 bits are data"),
        Link("InfiniBand 100 Gb/s", 100 * BYTES_PER_GBIT, "InfiniBand Trade Association: EDR, four lanes"),
        Link("Ethernet 10 Gb/s", 10 * BYTES_PER_GBIT, "IEEE 802.3ae"),
        Link("Ethernet 1 Gb/s", 1 * BYTES_PER_GBIT, "IEEE 802.3ab"),
    )
}


def all_reduce_bytes(n_params: int, n_workers: int, element: int = FLOAT32) -> float:
    """What each worker sends, and receives at the same time, until all have the sum of all gradients, in a ring.

    2 (n - 1) / n times the size: (n - 1) parts of size / n until every part is summed somewhere, and as many again
    until every sum is everywhere. It stays below twice the size, however many workers there are.

    n_params   numbers in the gradient
    n_workers  1 sends nothing
    element    bytes of a number: 4 as this course trains, also under autocast

    ValueError: any of these not a whole number of at least 1.
    Source: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    _require_whole(n_params=n_params, n_workers=n_workers, element=element)
    return 2 * (n_workers - 1) / n_workers * n_params * element


def sharded_step_bytes(n_params: int, n_workers: int, element: int = FLOAT32) -> float:
    """What each worker sends for a micro-batch under full sharding (ZeRO-3, FSDP): 3 (n - 1) / n times the size.

    Weights are gathered for the way forward and again for the way back, and gradients are summed and scattered: half
    as much again as `all_reduce_bytes`. A unit that stays gathered in between, as the outermost one does, saves one.

    Arguments and ValueError as for `all_reduce_bytes`. Source: Rajbhandari et al. 2020 (ZeRO), section 7.2.2.
    """
    return 1.5 * all_reduce_bytes(n_params, n_workers, element)


def communication_seconds(n_bytes: float, bytes_per_s: float, latency_s: float = 0.0, n_messages: int = 1) -> float:
    """n_messages * latency + n_bytes / bandwidth, one message after the other.

    n_bytes      of all messages together, at least 0
    bytes_per_s  in one direction: `Link.bytes_per_s`
    latency_s    until the first byte of a message arrives
    n_messages   of a ring's all-reduce: 2 (n - 1), for each bucket of gradients

    ValueError: a size, a latency or a number of messages below 0, a bandwidth not above 0, anything not finite.
    """
    _require_positive(bytes_per_s=bytes_per_s)
    for name, value in (("n_bytes", n_bytes), ("latency_s", latency_s), ("n_messages", n_messages)):
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    return n_messages * latency_s + n_bytes / bytes_per_s


@dataclass(frozen=True)
class Scaling:
    """An update of several workers, in seconds: what each computes, what each sends, and how much of that it waits for.

    n_workers              that share the work
    compute_seconds        of one worker's part, as if it were alone
    communication_seconds  of the messages, as if nothing else went on
    hidden_seconds         of them at most, behind arithmetic that goes on meanwhile
    """

    n_workers: int
    compute_seconds: float
    communication_seconds: float
    hidden_seconds: float

    @property
    def efficiency(self) -> float:
        """Share of n times one worker's speed, where messages wait until the arithmetic is done: in (0, 1]."""
        return self.compute_seconds / (self.compute_seconds + self.communication_seconds)

    @property
    def efficiency_overlapped(self) -> float:
        """The same, where as much as can be is sent while the arithmetic goes on: an upper bound."""
        return self.compute_seconds / (self.compute_seconds + self.communication_seconds - self.hidden_seconds)

    @property
    def speedup(self) -> float:
        """How many times one worker's speed, without overlap."""
        return self.n_workers * self.efficiency

    @property
    def speedup_overlapped(self) -> float:
        """How many times one worker's speed, with overlap: an upper bound."""
        return self.n_workers * self.efficiency_overlapped


def scaling(
    n_params: int,
    tokens_per_step: int,
    tokens_per_s: float,
    n_workers: int,
    link: Link | str,
    *,
    element: int = FLOAT32,
    latency_s: float = 0.0,
    sharded: bool = False,
) -> Scaling:
    """How well several workers share an update, when each has as many tokens as one had alone.

    n_params         of the model
    tokens_per_step  that one worker reads between two updates, micro-batches together. For a batch that is divided
                     instead, give its tokens / n_workers
    tokens_per_s     of one worker alone
    link             a Link, or a name in LINKS
    element, latency_s  as for `all_reduce_bytes` and `communication_seconds`, the gradient being one bucket
    sharded          full sharding instead of an all-reduce, for one micro-batch in an update

    What is sent can hide behind the way back, two thirds of the arithmetic (DDP), or behind all of it (sharded).

    ValueError: a size below 1, a speed not above 0, or an unknown link.
    Source: Li et al. 2020 (PyTorch Distributed), section 3.2.3, and Zhao et al. 2023 (FSDP), section 3.3, for overlap.
    """
    _require_whole(tokens_per_step=tokens_per_step)
    _require_positive(tokens_per_s=tokens_per_s)
    if isinstance(link, str):
        if link not in LINKS:
            raise ValueError(f"no link named {link!r}; there are {', '.join(LINKS)}, or give a Link of your own")
        link = LINKS[link]
    sent, rounds = (sharded_step_bytes, 3) if sharded else (all_reduce_bytes, 2)
    n_bytes = sent(n_params, n_workers, element)
    communication = communication_seconds(n_bytes, link.bytes_per_s, latency_s, rounds * (n_workers - 1))
    compute = tokens_per_step / tokens_per_s
    behind = compute if sharded else (1 - FORWARD_SHARE) * compute
    return Scaling(n_workers, compute, communication, min(communication, behind))


@dataclass(frozen=True)
class WorkerBytes:
    """What weights, gradients and moments take on each worker: whole on every one (DDP), or in shards."""

    replicated: int
    sharded: int


def sharded_bytes_per_worker(
    n_params: int, n_workers: int, *, gathered_params: int = 0, element: int = FLOAT32, moments: int = MOMENTS
) -> WorkerBytes:
    """Bytes per worker under DDP and under full sharding; activations come on top, the same in both.

    Replicated: element * (2 + moments) * n_params, 16 bytes a parameter for AdamW in float32. Sharded: that of
    n_params / n_workers, rounded up, and weight and gradient of the units that are whole at the moment.

    gathered_params  numbers in those units, such as the embeddings and one block
    element          bytes of a number. Half-precision weights and gradients beside a float32 copy and moments
                     are 2 + 2 + 12 bytes: 16 too
    moments          numbers that the optimizer keeps per parameter: 2 for AdamW, 0 for SGD

    ValueError: sizes that are not whole or below 1 (gathered_params, moments: below 0), more gathered than there are.
    Source: Rajbhandari et al. 2020 (ZeRO), sections 3.1 and 5.3.
    """
    _require_whole(n_params=n_params, n_workers=n_workers, element=element)
    _require_whole(at_least=0, gathered_params=gathered_params, moments=moments)
    if gathered_params > n_params:
        raise ValueError(f"gathered_params must be at most n_params = {n_params}, got {gathered_params}")
    each = element * (2 + moments)
    gathered = 2 * element * gathered_params if n_workers > 1 else 0
    return WorkerBytes(each * n_params, each * math.ceil(n_params / n_workers) + gathered)


def replicated_limit(available_bytes: int, other_bytes: int = 0) -> int:
    """The largest model, in parameters, that a card trains unsharded with AdamW; from one more on it must be sharded.

    available_bytes  of the card
    other_bytes      activations and slack: `memory(...).peak_bytes` without weights, gradients and moments

    ValueError: no whole numbers, available_bytes below 1, or nothing left beside other_bytes.
    """
    return _room(available_bytes, other_bytes) // sharded_bytes_per_worker(1, 1).replicated


def workers_needed(n_params: int, available_bytes: int, other_bytes: int = 0, gathered_params: int = 0) -> int:
    """The fewest cards over which a model must be sharded, AdamW in float32; 1 where no sharding is needed.

    Arguments as for `replicated_limit` and `sharded_bytes_per_worker`.

    ValueError: as there, or what is gathered leaves no room for a shard: then no number of cards is enough.
    """
    held = sharded_bytes_per_worker(n_params, 1, gathered_params=gathered_params).replicated
    room = _room(available_bytes, other_bytes)
    if held <= room:
        return 1
    each = held // n_params
    most = (room - 2 * FLOAT32 * gathered_params) // each  # parameters in a shard
    if most < 1:
        raise ValueError(
            f"no number of cards is enough: {room} bytes hold not even {gathered_params} gathered parameters with "
            "their gradients and a shard; take smaller units or fewer activations"
        )
    return math.ceil(n_params / most)


def _room(available_bytes: int, other_bytes: int) -> int:
    _require_whole(available_bytes=available_bytes)
    _require_whole(at_least=0, other_bytes=other_bytes)
    if other_bytes >= available_bytes:
        raise ValueError(f"other_bytes must leave something of {available_bytes} bytes, got {other_bytes}")
    return available_bytes - other_bytes


def _require_whole(*, at_least: int = 1, **numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
