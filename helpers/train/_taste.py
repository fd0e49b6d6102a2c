"""A first taste of training: random windows, AdamW, a record per step. Notebook 04 builds the real loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.loss import next_token_loss
from helpers.model import GPT


@dataclass(frozen=True)
class StepRecord:
    """One update. `loss_nats` was measured before it, so the first record describes the untrained model."""

    step: int
    loss_nats: float


def taste_of_training(
    model: GPT, token_ids: Tensor, *, n_steps: int, batch_size: int = 8, learning_rate: float = 1e-3, seed: int = 0
) -> Iterator[StepRecord]:
    """Fit `model` to one text, yielding a record per update; the caller decides when it has seen enough.

    The model is left in evaluation mode.

    token_ids  (N,) int64, more than the model's context; windows are drawn from it at random
    seed       of the windows alone: the global generators are neither used nor moved (dropout, where on, does)

    ValueError: too short a text, an id outside the model's vocabulary, or a number of steps or rows below 1.
    """
    T = model.config.context_length
    if token_ids.ndim != 1 or len(token_ids) <= T:
        raise ValueError(f"expected a single list of more than {T} ids, got shape {tuple(token_ids.shape)}")
    if n_steps < 1 or batch_size < 1:
        raise ValueError(f"n_steps and batch_size must be at least 1, got {n_steps} and {batch_size}")
    low, high = (int(v) for v in token_ids.aminmax())
    if low < 0 or high >= model.config.vocab_size:
        raise ValueError(
            f"token ids must be in [0, {model.config.vocab_size}), got {low} to {high}: "
            "does the tokenizer belong to this model?"
        )
    return _steps(model, token_ids, n_steps, batch_size, learning_rate, seed)


def _steps(
    model: GPT, token_ids: Tensor, n_steps: int, batch_size: int, learning_rate: float, seed: int
) -> Iterator[StepRecord]:
    T = model.config.context_length
    device = next(model.parameters()).device
    windows = token_ids.unfold(0, T + 1, 1)  # (N - T, T + 1): a view, no copy
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model.train()
    try:
        for step in range(n_steps):
            rows = torch.randint(len(windows), (batch_size,), generator=generator)
            batch = windows[rows].to(device)  # (B, T + 1)
            loss = next_token_loss(model(batch[:, :-1]), batch[:, 1:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield StepRecord(step, loss.item())
    finally:  # also where the caller stops early
        model.eval()
