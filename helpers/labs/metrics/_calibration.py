"""Whether a model's confidence is deserved, and how often its favourite is right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """Predictions grouped by confidence: `accuracy` equal to `confidence` in every group is perfect calibration.

    confidence  (n,) mean probability of the favourite token, per group
    accuracy    (n,) share of that group whose favourite was right
    n_tokens    (n,) predictions in the group
    error       expected calibration error: mean |accuracy - confidence|, weighted by n_tokens
    """

    confidence: Tensor
    accuracy: Tensor
    n_tokens: Tensor
    error: float


def calibration(probs: Tensor, targets: Tensor, n_bins: int = 10) -> Calibration:
    """Group predictions into `n_bins` equal ranges of confidence, each with its lower end; empty ones are left out.

    probs    (N, V), rows sum to 1
    targets  (N,) ids in [0, V)

    ValueError: shapes that do not belong together, no prediction, values outside their range, or fewer than one bin.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    if probs.ndim != 2 or targets.shape != probs.shape[:1] or not len(targets):
        raise ValueError(f"expected probs (N, V) and targets (N,), got {tuple(probs.shape)} and {tuple(targets.shape)}")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    probs, targets = probs.detach().cpu(), targets.cpu()
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError(f"probs must be in [0, 1], got {probs.min():.3g} to {probs.max():.3g}: take the softmax first")
    if int(targets.min()) < 0 or int(targets.max()) >= probs.shape[1]:
        raise ValueError(f"targets must be in [0, {probs.shape[1]}), got {int(targets.min())} to {int(targets.max())}")
    confidence, favourite = probs.max(-1)
    hits = (favourite == targets).double()
    bins = (confidence * n_bins).long().clamp(max=n_bins - 1)
    n_tokens = torch.zeros(n_bins, dtype=torch.int64).index_add(0, bins, torch.ones_like(bins))
    sums = torch.zeros(2, n_bins, dtype=torch.float64)
    sums = sums.index_add(1, bins, torch.stack([confidence.double(), hits]))
    kept = n_tokens > 0
    mean_confidence, accuracy = sums[:, kept] / n_tokens[kept]
    error = float(((accuracy - mean_confidence).abs() * n_tokens[kept]).sum() / len(targets))
    return Calibration(mean_confidence, accuracy, n_tokens[kept], error)


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of targets that were the highest-scored token: logits (..., V), targets (...) -> a number in [0, 1].

    ValueError: shapes that do not belong together, or no target.
    """
    if targets.shape != logits.shape[:-1] or not targets.numel():
        raise ValueError(
            f"expected logits (..., V) and targets (...), got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    return (logits.argmax(-1) == targets).double().mean().item()
