"""Gradient checkpointing: the gradients are the same bits. That less is kept: tests/labs/test_budget_memory.py."""

from __future__ import annotations

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, summed_loss

CONFIG = GPTConfig(vocab_size=101, context_length=70, emb_dim=24, n_heads=3, n_layers=3, drop_rate=0.1)


def gradients(gradient_checkpointing: bool, precision: torch.dtype) -> list[torch.Tensor]:
    """Always from the same weights and dropout."""
    torch.manual_seed(7)
    model = GPT(CONFIG).train()
    model.gradient_checkpointing = gradient_checkpointing
    token_ids, targets = torch.randint(CONFIG.vocab_size, (2, 5, 67))
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        loss = summed_loss(model, token_ids, targets)
    loss.backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_gradients(precision):
    kept, again = (gradients(on, precision) for on in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True)), "dropout too is drawn again"


def test_evaluation_needs_no_second_pass():
    model = GPT(CONFIG).eval()
    model.gradient_checkpointing = True
    token_ids = torch.randint(CONFIG.vocab_size, (2, 11))
    calls = []
    model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    model(token_ids).sum().backward()
    assert len(calls) == 1
