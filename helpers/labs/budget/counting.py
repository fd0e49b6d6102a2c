"""Parameters, FLOPs, time, money and energy of a training run, and what several ranks send: from plain numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps

import numpy as np

from helpers.gpt import GPTConfig, require_kind, require_number, require_one_of, require_whole
from helpers.language import spoken, t

SECONDS_PER_HOUR = 3600
REPORTED_T4_TOKENS_PER_S = 200_000 * 256 / (2 * SECONDS_PER_HOUR)  # OPT-125M on a T4: the class's report, with padding
FF_MATRICES = {"mlp": 2, "swiglu": 3}  # in a feed-forward layer
DAYS_PER_MONTH = 30  # the class's month: 300e9 tokens at 15,000 tokens/s are 7.7 of them
FLOAT32 = 4  # bytes
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


def _in_plain_numbers(count: Callable) -> Callable:
    """`count`, given Python's own numbers for numpy's, of which an int32 overflows at 2^31 and hardly says so.

    A Fraction becomes a float: before Python 3.12 it cannot be written with so many digits.
    """

    def plain(value: object) -> object:
        if isinstance(value, np.generic):
            return value.item()
        return float(value) if isinstance(value, Fraction) and abs(value) < 1e300 else value

    @wraps(count)
    def counted(*given: object, **named: object) -> object:
        return count(*map(plain, given), **{name: plain(value) for name, value in named.items()})

    return counted


@_in_plain_numbers
def training_seconds(n_tokens: float, tokens_per_s: float) -> float:
    """Time to read `n_tokens` once at a constant `tokens_per_s`. ValueError: either is not finite and above 0."""
    require_number(n_tokens=n_tokens, tokens_per_s=tokens_per_s)
    return n_tokens / tokens_per_s


@_in_plain_numbers
def updates_within(hours: float, tokens_per_s: float, tokens_per_update: float) -> int:
    """Updates that end within `hours` at a constant speed, at least one: the length of a run from its budget.

    ValueError: an argument that is not a finite number above 0, or more updates than a float can count.
    """
    require_number(hours=hours, tokens_per_s=tokens_per_s, tokens_per_update=tokens_per_update)
    updates = float(hours) * SECONDS_PER_HOUR * tokens_per_s / tokens_per_update
    require_number(positive=False, updates=updates)
    return max(int(updates), 1)


@dataclass(frozen=True)
class Cost:
    """What reading `n_tokens` once takes: hours, money in the unit of the price, energy (None: no power was given)."""

    n_tokens: float
    hours: float
    money: float
    kwh: float | None = None


@_in_plain_numbers
def cost(n_tokens: float, tokens_per_s: float, price_per_hour: float, watts: float | None = None) -> Cost:
    """Hours, money and energy of `n_tokens` at a constant speed; an epoch more is as many tokens more.

    price_per_hour  in any currency
    watts           the machine's power while it trains; None where it is not known

    ValueError: tokens, speed or power not above 0, a price below 0, or a number that is not finite.
    """
    hours = training_seconds(n_tokens, tokens_per_s) / SECONDS_PER_HOUR
    require_number(positive=False, price_per_hour=price_per_hour)
    if watts is not None:
        require_number(watts=watts)
    return Cost(n_tokens, hours, hours * price_per_hour, None if watts is None else hours * watts / 1000)


@_in_plain_numbers
def readable_bytes(n: float) -> str:
    """Bytes in the largest binary unit that keeps the number at 1 or more: "14.7 GiB", "89 MiB", "512 bytes"."""
    require_number(positive=False, size=n)
    for name, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= size:
            return f"{n / size:,.0f} {name}" if n >= 100 * size else f"{n / size:.3g} {name}"
    return t("{n:,.0f} bytes", n=n)


@_in_plain_numbers
def readable_time(seconds: float) -> str:
    """Seconds in the largest unit that keeps the number at 1 or more: "7.7 months", "23 days", "1.0 hours"."""
    require_number(positive=False, seconds=seconds)
    hour, day = SECONDS_PER_HOUR, 24 * SECONDS_PER_HOUR
    units = {"years": 365 * day, "months": DAYS_PER_MONTH * day, "days": day, "hours": hour, "minutes": 60}
    name, size = next((unit for unit in units.items() if seconds >= unit[1]), ("seconds", 1))
    amount = seconds / size
    return f"{amount:,.0f} {t(name)}" if amount >= 10 else f"{amount:.1f} {t(name)}"


@_in_plain_numbers
def readable_count(n: float) -> str:
    """A count in words from a million on: "300 billion", "83.3 million", "15,000" (3 significant digits in words)."""
    require_number(positive=False, count=n)
    for name, size in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        amount = n / size
        if amount >= 999.5:
            return spoken(f"{amount:,.0f} {name}")
        if amount >= 0.9995:
            return spoken(f"{amount:.3g} {name}")
    return f"{n:,.0f}"


def parameter_count(config: GPTConfig) -> dict[str, int]:
    """Learned numbers by part, counted from the config alone; "total" counts a tied head once.

    return  token_embedding, position_embedding, attention, feed_forward, norms, head, total
    """
    require_kind(GPTConfig, config=config)
    C, F, V, L = config.emb_dim, config.hidden_ff_dim, config.vocab_size, config.n_layers
    wide = F * (FF_MATRICES[config.feed_forward] - 1)  # what the layer computes before it projects back
    learned = config.positions == "learned"
    parts = {
        "token_embedding": V * C,
        "position_embedding": (config.context_length + config.position_offset) * C if learned else 0,
        "attention": L * (C * config.qkv_dim + C * C + config.qkv_dim * config.qkv_bias + C * config.linear_bias),
        "feed_forward": L * (wide * C + F * C + (wide + C) * config.linear_bias),
        "norms": (2 * L + 1) * C * (2 if config.norm == "layernorm" else 1),
        "head": 0 if config.tied_head else V * C,
    }
    return parts | {"total": sum(parts.values())}


@_in_plain_numbers
def matmul_flops_per_token(config: GPTConfig, context_length: int | None = None) -> int:
    """FLOPs of the matmuls of one token's forward pass; with the backward pass three times as many.

    context_length  tokens attended over (None: the config's); scores over the whole square are counted

    ValueError: a context outside [1, config.context_length].
    Source: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022 (PaLM), appendix B.
    """
    require_kind(GPTConfig, config=config)
    T = config.context_length if context_length is None else context_length
    if T not in range(1, config.context_length + 1):
        raise ValueError(f"context_length must be in [1, {config.context_length}], got {T!r}")
    C = config.emb_dim
    per_block = 2 * block_matrices(config) + 2 * 2 * T * C  # projections, then scores and mixing
    return config.n_layers * per_block + 2 * C * config.vocab_size


def block_matrices(config: GPTConfig) -> int:
    """Numbers in the matrices of one block: each takes part in one multiplication and one addition a token."""
    C = config.emb_dim
    return C * config.qkv_dim + C * C + FF_MATRICES[config.feed_forward] * C * config.hidden_ff_dim


@_in_plain_numbers
def cache_bytes(config: GPTConfig, n_tokens: int, element_bytes: int = 4) -> int:
    """What the keys and values of `n_tokens` take, the tokens of all sequences together; as `model.new_cache` has it.

    ValueError: a number below 1.
    """
    require_kind(GPTConfig, config=config)
    require_number(n_tokens=n_tokens, element_bytes=element_bytes)
    return 2 * config.n_layers * config.kv_heads * config.head_dim * n_tokens * element_bytes


@_in_plain_numbers
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


@_in_plain_numbers
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


@_in_plain_numbers
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


@_in_plain_numbers
def replicated_limit(available_bytes: int) -> int:
    """The largest model, in parameters, that a GPU trains unsharded with AdamW, before any activation."""
    require_whole(available_bytes=available_bytes)
    return available_bytes // BYTES_PER_PARAMETER


@_in_plain_numbers
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
