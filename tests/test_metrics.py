"""Calibration and accuracy by hand; the bootstrap against known variances; overlaps against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.metrics import Overlap, accuracy, block_bootstrap, calibration, longest_overlap


def test_calibration_by_hand():
    probs = torch.tensor([[0.9, 0.1, 0.0], [0.92, 0.0, 0.08], [0.2, 0.45, 0.35], [1.0, 0.0, 0.0]])
    result = calibration(probs, torch.tensor([0, 1, 1, 0]), n_bins=10)
    # groups: 0.45 (right); 0.90, 0.92 and 1.00 share the last one (two of three right)
    torch.testing.assert_close(result.confidence, torch.tensor([0.45, 0.94], dtype=torch.float64))
    torch.testing.assert_close(result.accuracy, torch.tensor([1.0, 2 / 3], dtype=torch.float64))
    assert result.n_tokens.tolist() == [1, 3]
    assert result.error == pytest.approx((0.55 * 1 + (0.94 - 2 / 3) * 3) / 4)


def test_bins_are_ranges_that_begin_at_their_lower_end():
    probs = torch.tensor([[0.41, 0.30, 0.29], [0.47, 0.33, 0.20], [0.53, 0.27, 0.20]])
    assert calibration(probs, torch.tensor([0, 0, 0]), n_bins=10).n_tokens.tolist() == [2, 1]


def test_an_honest_predictor_is_calibrated():
    generator = torch.Generator().manual_seed(0)
    probs = torch.softmax(torch.randn(20_000, 5, generator=generator), -1)
    targets = torch.multinomial(probs, 1, generator=generator)[:, 0]
    assert calibration(probs, targets).error < 0.02
    assert calibration(probs**4 / (probs**4).sum(-1, keepdim=True), targets).error > 0.1


def test_accuracy():
    logits = torch.tensor([[[0.0, 1.0], [3.0, 2.0]]])
    assert accuracy(logits, torch.tensor([[1, 1]])) == 0.5


def test_refuses():
    with pytest.raises(ValueError, match="probs"):
        calibration(torch.ones(2, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="probs"):
        calibration(torch.ones(0, 3), torch.tensor([], dtype=torch.int64))
    with pytest.raises(ValueError, match="softmax first"):
        calibration(torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([0]))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=r"\[0, 3\)"):
            calibration(torch.full((1, 3), 1 / 3), torch.tensor([wrong]))
    with pytest.raises(ValueError, match="targets"):
        accuracy(torch.ones(2, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="n_bins"):
        calibration(torch.ones(1, 3), torch.tensor([0]), n_bins=0)
    with pytest.raises(ValueError, match="targets"):
        accuracy(torch.ones(0, 3), torch.tensor([]))


def width(values: torch.Tensor, block: int, **changes) -> float:
    interval = block_bootstrap(values, block, **changes)
    assert interval.low <= interval.high
    return interval.high - interval.low


@pytest.mark.parametrize("block", [1, 7, 50, 600])  # 600 leaves a second block of 400
def test_the_interval_of_independent_values_is_the_textbook_one(block):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 3 + 10
    interval = block_bootstrap(values, block)
    assert interval.mean == pytest.approx(values.mean().item(), rel=1e-6)
    textbook = 2 * 1.96 * values.std().item() / 1000**0.5
    if block <= 50:
        assert interval.high - interval.low == pytest.approx(textbook, rel=0.25 if block == 50 else 0.1)
        assert interval.low < interval.mean < interval.high
    else:
        assert 0 < interval.high - interval.low < 1.5 * textbook


def test_neighbours_that_are_alike_widen_the_interval():
    """Each value twenty times: a mean over 60 numbers, not over 1,200."""
    values = torch.randn(60, generator=torch.Generator().manual_seed(2)).repeat_interleave(20)
    honest = 2 * 1.96 * values.std().item() / 60**0.5
    assert width(values, 1) == pytest.approx(honest / 20**0.5, rel=0.1)
    assert width(values, 60) == pytest.approx(honest, rel=0.25)


def test_a_resample_is_as_long_as_the_series():
    """Blocks of 3 from 0, 0, 0, 4: the last one is cut to a single value, so that all sums are known."""
    interval = block_bootstrap(torch.tensor([0.0, 0, 0, 4]), 3, n_resamples=4000)
    # first block: 0 or 4; its one more value, from place 0 or 1, is 0
    assert interval == (1.0, 0.0, 1.0)


def test_bootstrap_edges():
    values = torch.arange(5)  # integers are welcome
    assert block_bootstrap(values, 5) == (2.0, 2.0, 2.0)
    assert block_bootstrap(torch.tensor([3.0]), 1) == (3.0, 3.0, 3.0)
    before = torch.get_rng_state()
    assert block_bootstrap(values, 2) == block_bootstrap(values, 2) != block_bootstrap(values, 2, 50, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for wrong in ((values, 0), (values, 6), (values[None], 1), (values[:0], 1), (values, 1, 0)):
        with pytest.raises(ValueError, match="block <= N"):
            block_bootstrap(*wrong)


def test_overlap_by_hand():
    assert longest_overlap([9, 1, 2, 3, 8], [1, 2, 4, 1, 2, 3]) == Overlap(3, 1, 3)
    assert longest_overlap([1, 2], [3, 4]) == longest_overlap([], [3]) == longest_overlap([3], []) == Overlap(0, 0, 0)
    assert longest_overlap([5, 6, 0, 7, 8], [7, 8, 1, 5, 6, 2, 5, 6]) == Overlap(2, 0, 3)  # the first of equals


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=14))
def test_overlap_against_brute_force(text, source):
    runs = [
        (n, -i, -j)
        for i in range(len(text))
        for j in range(len(source))
        for n in range(1, min(len(text) - i, len(source) - j) + 1)
        if text[i : i + n] == source[j : j + n]
    ]
    n, i, j = max(runs, default=(0, 0, 0))
    assert longest_overlap(text, source) == Overlap(n, -i, -j)
    assert longest_overlap(torch.tensor(text), np.array(source)) == Overlap(n, -i, -j)


def test_overlap_of_large_ids_in_a_long_text():
    source = torch.randint(40_000, 60_000, (200_000,), generator=torch.Generator().manual_seed(0))  # surrogates too
    assert longest_overlap(source[123_456:123_956], source) == Overlap(500, 0, 123_456)
    for wrong in (-1, 1_114_112, 2**70):
        with pytest.raises(ValueError, match="1,114,112"):
            longest_overlap([wrong], [1])
