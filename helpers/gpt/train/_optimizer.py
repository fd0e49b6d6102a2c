"""AdamW as GPTs use it: weight decay on matrices, none on biases and norms."""

from __future__ import annotations

import torch
from torch import nn

from helpers.gpt.train._records import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the model's parameters in two groups: those with two axes or more are decayed, the others are not.

    config  its learning_rate, weight_decay and betas are used
    return  torch's fused AdamW, which updates each parameter in one pass over memory

    Source: Loshchilov & Hutter 2019 (AdamW); Radford et al. 2018 (GPT), section 4.1, for what is decayed.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]  # a tied matrix comes once
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
