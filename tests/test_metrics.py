"""Calibration and accuracy, by hand."""

from __future__ import annotations

import pytest
import torch

from helpers.metrics import accuracy, calibration


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
