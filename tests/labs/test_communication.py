"""What workers send, against rings walked step by step and numbers by hand."""

from __future__ import annotations

import math

import pytest

from helpers.labs import budget


def ring(n_params: int, n_workers: int, rounds: int) -> float:
    """Bytes that worker 0 sends when `rounds` times every part travels to all but one, in float32."""
    parts = [n_params / n_workers] * n_workers
    return sum(4 * parts[(step + turn) % n_workers] for turn in range(rounds) for step in range(n_workers - 1))


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
def test_a_ring_walked_step_by_step(n_workers):
    assert budget.all_reduce_bytes(21, n_workers) == pytest.approx(ring(21, n_workers, 2))
    assert budget.sharded_step_bytes(21, n_workers) == pytest.approx(ring(21, n_workers, 3))


def test_all_reduce_by_hand():
    assert budget.all_reduce_bytes(100, 1) == 0
    assert budget.all_reduce_bytes(100, 2) == 400  # half of it there, half of it back
    assert budget.all_reduce_bytes(100, 4, element=2) == 300
    assert 2 * 400 * 0.99 < budget.all_reduce_bytes(100, 1000) < 2 * 400


def test_links_in_bytes():
    """Nominal figures of one direction, in bytes a second."""
    expected = {
        "NVLink, H100": 450e9,
        "NVLink, A100": 300e9,
        "PCIe 4.0 x16": 31.5e9,
        "InfiniBand 100 Gb/s": 12.5e9,
        "Ethernet 10 Gb/s": 1.25e9,
        "Ethernet 1 Gb/s": 0.125e9,
    }
    assert {name: link.bytes_per_s for name, link in budget.LINKS.items()} == pytest.approx(expected, rel=1e-3)
    assert all(link.source and link.name == name for name, link in budget.LINKS.items())


def test_communication_seconds():
    assert budget.communication_seconds(1e9, 125e6) == 8
    assert budget.communication_seconds(1e9, 125e6, 0.5, 6) == 11
    assert budget.communication_seconds(0, 1) == 0


def test_scaling_by_hand():
    """1,000 parameters over two workers are 4,000 bytes; 300 tokens at 100 a second are 3 seconds, 2 of them back."""
    slow, fast = budget.Link("slow", 1000, "here"), budget.Link("fast", 4000, "here")
    s = budget.scaling(1000, 300, 100, 2, slow)
    assert (s.compute_seconds, s.communication_seconds, s.hidden_seconds) == pytest.approx((3, 4, 2))
    assert s.efficiency == pytest.approx(3 / 7) and s.efficiency_overlapped == pytest.approx(3 / 5)
    assert s.speedup == pytest.approx(6 / 7) and s.speedup_overlapped == pytest.approx(6 / 5)
    s = budget.scaling(1000, 300, 100, 2, fast)
    assert s.efficiency == pytest.approx(3 / 4) and s.efficiency_overlapped == pytest.approx(1)
    s = budget.scaling(1000, 300, 100, 2, fast, sharded=True)
    assert (s.communication_seconds, s.hidden_seconds) == pytest.approx((1.5, 1.5))
    s = budget.scaling(1000, 300, 100, 2, slow, sharded=True, latency_s=0.5)  # 6 s and three messages
    assert (s.communication_seconds, s.hidden_seconds) == pytest.approx((7.5, 3))
    assert budget.scaling(1000, 300, 100, 2, slow, latency_s=0.5).communication_seconds == pytest.approx(5)
    assert budget.scaling(1000, 300, 100, 2, slow, element=2).communication_seconds == pytest.approx(2)


def test_one_worker_waits_for_nobody():
    for sharded in (False, True):
        s = budget.scaling(10**8, 1024, 1e4, 1, "Ethernet 1 Gb/s", latency_s=1, sharded=sharded)
        assert s.efficiency == s.efficiency_overlapped == s.speedup == 1


def test_more_tokens_or_a_faster_link_scale_better():
    links = sorted(budget.LINKS.values(), key=lambda link: link.bytes_per_s)
    by_link = [budget.scaling(124_439_808, 8192, 1e5, 8, link).efficiency for link in links]
    assert by_link == sorted(by_link) and 0 < by_link[0] < 0.05 and 0.9 < by_link[-1] < 1
    by_tokens = [budget.scaling(124_439_808, n, 1e5, 8, links[0]).efficiency for n in (2**10, 2**14, 2**18)]
    assert by_tokens == sorted(by_tokens)


def test_bytes_per_worker_are_those_of_the_paper():
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 workers, 120 GB against 1.9 GB."""
    held = budget.sharded_bytes_per_worker(7_500_000_000, 64)
    assert held == budget.WorkerBytes(120_000_000_000, 1_875_000_000)
    assert budget.sharded_bytes_per_worker(10, 4) == budget.WorkerBytes(160, 48)  # a shard of three
    assert budget.sharded_bytes_per_worker(10, 4, gathered_params=5) == budget.WorkerBytes(160, 48 + 40)
    assert budget.sharded_bytes_per_worker(10, 1, gathered_params=5) == budget.WorkerBytes(160, 160)
    assert budget.sharded_bytes_per_worker(10, 2, element=2, moments=0) == budget.WorkerBytes(40, 20)


def test_when_memory_demands_shards():
    assert budget.replicated_limit(1600) == 100 and budget.replicated_limit(1600, 1) == 99
    assert budget.workers_needed(100, 1600) == 1 and budget.workers_needed(101, 1600) == 2
    assert budget.workers_needed(201, 1600) == 3
    assert budget.workers_needed(100, 1600, gathered_params=50) == 1  # it fits whole, and nothing is gathered
    for other, gathered in ((0, 0), (160, 0), (160, 50)):
        n = budget.workers_needed(1000, 1600, other, gathered)
        held = [budget.sharded_bytes_per_worker(1000, k, gathered_params=gathered).sharded for k in (n - 1, n)]
        assert held[1] <= 1600 - other < held[0]


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True])
def test_sizes_are_whole(wrong):
    for name in ("n_params", "n_workers", "element"):
        given = {"n_params": 3, "n_workers": 2, "element": 4, name: wrong}
        for function in (budget.all_reduce_bytes, budget.sharded_step_bytes, budget.sharded_bytes_per_worker):
            with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {wrong}"):
                function(**given)
    with pytest.raises(ValueError, match="tokens_per_step"):
        budget.scaling(1, wrong, 1, 2, "PCIe 4.0 x16")
    with pytest.raises(ValueError, match="available_bytes"):
        budget.replicated_limit(wrong)


@pytest.mark.parametrize("wrong", [-1, math.inf, math.nan])
def test_seconds_refuse_what_is_no_amount(wrong):
    for name in ("n_bytes", "latency_s", "n_messages"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
            budget.communication_seconds(**{"n_bytes": 1, "bytes_per_s": 1, name: wrong})
    with pytest.raises(ValueError, match="bytes_per_s must be a finite number above 0"):
        budget.communication_seconds(1, wrong)
    with pytest.raises(ValueError, match="bytes_per_s"):
        budget.Link("none", wrong, "nowhere")
    with pytest.raises(ValueError, match="tokens_per_s"):
        budget.scaling(1, 1, wrong, 2, "PCIe 4.0 x16")


def test_other_refusals():
    with pytest.raises(ValueError, match="no link named 'string'; there are NVLink, H100"):
        budget.scaling(1, 1, 1, 2, "string")
    with pytest.raises(ValueError, match="gathered_params must be at most n_params = 3, got 4"):
        budget.sharded_bytes_per_worker(3, 2, gathered_params=4)
    for name in ("gathered_params", "moments"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 0, got -1"):
            budget.sharded_bytes_per_worker(3, 2, **{name: -1})
    with pytest.raises(ValueError, match="other_bytes must leave something of 16 bytes, got 16"):
        budget.replicated_limit(16, 16)
    with pytest.raises(ValueError, match="no number of cards is enough"):
        budget.workers_needed(1000, 800, gathered_params=99)
