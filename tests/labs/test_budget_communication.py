"""What ranks send, against rings walked step by step and numbers by hand."""

import math

import pytest

from helpers.labs import budget
from tests.support import refusals


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 1000])
def test_a_ring_walked_step_by_step(world_size):
    """Rank 0 passes every part but one on, twice, in float32."""
    parts = [21 / world_size] * world_size
    sent = sum(4 * parts[(step + turn) % world_size] for turn in range(2) for step in range(world_size - 1))
    assert budget.all_reduce_bytes(21, world_size) == pytest.approx(sent)
    assert budget.all_reduce_bytes(100, 2) == 400  # half of it there, half of it back


def test_scaling_by_hand():
    """31,250,000 parameters over two ranks are 125 MB, a second at 1 Gb/s; 300 tokens at 100 a second are 3."""
    slow = budget.scaling(31_250_000, 300, 100, 2, "Ethernet 1 Gb/s")
    assert (slow.compute_seconds, slow.communication_seconds) == pytest.approx((3, 1))
    assert slow.efficiency == pytest.approx(3 / 4)
    assert budget.scaling(10**8, 1024, 1e4, 1, "Ethernet 1 Gb/s").efficiency == 1, "one rank waits for nobody"


@pytest.mark.parametrize(
    ("interconnect", "bytes_per_s"),
    [("NVLink, H100", 450e9), ("NVLink, A100", 300e9), ("PCIe 4.0 x16", 31.5e9), ("InfiniBand 100 Gb/s", 12.5e9),
     ("Ethernet 10 Gb/s", 1.25e9), ("Ethernet 1 Gb/s", 0.125e9)],
)  # fmt: skip
def test_interconnects_in_bytes(interconnect, bytes_per_s):
    """Nominal figures of one direction: a million parameters over two ranks are 4 MB."""
    found = budget.scaling(10**6, 1, 1, 2, interconnect)
    assert found.communication_seconds == pytest.approx(4e6 / bytes_per_s, rel=1e-3)


def test_bytes_per_rank_are_those_of_the_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 ranks, 120 GB against 1.9 GB."""
    for arguments, replicated, sharded in (
        ((7_500_000_000, 64), 120_000_000_000, 1_875_000_000),
        ((10, 4), 160, 48),  # a shard of three
        ((10, 4, 5), 160, 48 + 40),
        ((10, 1, 5), 160, 160),
    ):
        found = budget.bytes_per_rank(*arguments)
        assert (found.replicated, found.sharded) == (replicated, sharded)


def test_when_memory_demands_sharding():
    assert budget.replicated_limit(1600) == 100 and budget.replicated_limit(1599) == 99
    assert budget.ranks_needed(100, 1600) == 1 and budget.ranks_needed(101, 1600) == 2
    assert budget.ranks_needed(100, 1600, gathered_params=50) == 1  # it fits whole, and nothing is gathered
    for gathered in (0, 50):
        n = budget.ranks_needed(1000, 1600, gathered)
        held = [budget.bytes_per_rank(1000, k, gathered).sharded for k in (n - 1, n)]
        assert held[1] <= 1600 < held[0]


def scaling(tokens_per_step=1, tokens_per_s=1, interconnect="PCIe 4.0 x16"):
    return budget.scaling(3, tokens_per_step, tokens_per_s, 2, interconnect)


test_refuses = refusals(
    *((lambda n=n: budget.all_reduce_bytes(n, 2), "n_params must be a whole number") for n in (0, -1, 2.5, True)),
    (lambda: budget.all_reduce_bytes(3, 0), "world_size must be a whole number of at least 1, got 0"),
    (lambda: budget.bytes_per_rank(0, 2), "n_params must be a whole number of at least 1, got 0"),
    (lambda: budget.bytes_per_rank(3, 2.5), "world_size must be a whole number of at least 1, got 2.5"),
    (lambda: budget.bytes_per_rank(3, 2, gathered_params=4), "gathered_params must be at most n_params = 3, got 4"),
    (lambda: budget.replicated_limit(0), "available_bytes"),
    (lambda: budget.ranks_needed(1000, 800, gathered_params=99), "no number of GPUs is enough"),
    (lambda: scaling(tokens_per_step=0), "tokens_per_step"),
    *((lambda x=x: scaling(tokens_per_s=x), "must be a finite number above 0") for x in (-1, math.inf, math.nan)),
    (lambda: scaling(interconnect="string"), "interconnect must be one of NVLink, H100, .* got 'string'"),
)
