"""A first taste of training, for notebooks that come before the loop is taught: one text, one call."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.gpt.data import Windows
from helpers.gpt.model import GPT
from helpers.gpt.train._records import TrainConfig, Update
from helpers.gpt.train._trainer import Trainer


def quick_fit(
    model: GPT, token_ids: Tensor, *, n_steps: int, batch_size: int = 8, learning_rate: float = 1e-3, seed: int = 0
) -> Iterator[Update]:
    """Fit `model` to one text with a steady learning rate, yielding a record per update.

    The first record's loss is the untrained model's; the caller may stop early. The model is left in evaluation mode.

    token_ids  (N,) int64, more than the model's context; windows are drawn from it at random
    seed       of the windows alone: the global generators are neither used nor moved (dropout, where on, does)

    ValueError: too short a text, an id outside the model's vocabulary, or a number of steps or rows below 1.
    """
    if n_steps < 1 or batch_size < 1:
        raise ValueError(f"n_steps and batch_size must be at least 1, got {n_steps} and {batch_size}")
    low, high = (int(v) for v in token_ids.aminmax())
    if low < 0 or high >= model.config.vocab_size:
        raise ValueError(
            f"token ids must be in [0, {model.config.vocab_size}), got {low} to {high}: "
            "does the tokenizer belong to this model?"
        )
    windows = Windows(token_ids, model.config.context_length, stride=1)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(len(windows), (batch_size,), generator=generator) for _ in range(n_steps)]
    batches = [windows.rows(rows) for rows in drawn]
    steady = TrainConfig(
        n_steps, learning_rate, min_lr_ratio=1.0, weight_decay=0.01, betas=(0.9, 0.999), clip_norm=None
    )
    return iter(Trainer(model, batches, steady))
