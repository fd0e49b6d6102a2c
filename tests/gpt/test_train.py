"""Training learns, repeats itself bit for bit, and leaves the global generators alone."""

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, quick_fit
from tests.support import refusals_of

TINY = GPTConfig(vocab_size=17, context_length=7, emb_dim=12, n_heads=2, n_layers=1, drop_rate=0.0)
TEXT = torch.arange(17).repeat(5)


def fit(seed: int = 0, n_steps: int = 60) -> list[float]:
    torch.manual_seed(0)
    return [r.loss_nats for r in quick_fit(GPT(TINY), TEXT, n_steps=n_steps, learning_rate=1e-2, seed=seed)]


def test_it_learns_to_count_by_its_seed_alone():
    losses = fit()
    assert losses[0] == pytest.approx(torch.tensor(17.0).log().item(), abs=0.1)
    assert losses[-1] < 0.3
    assert fit(n_steps=5) == fit(n_steps=5) != fit(seed=1, n_steps=5)
    model = GPT(TINY)
    before = torch.get_rng_state()
    list(quick_fit(model, TEXT, n_steps=2))
    assert torch.equal(before, torch.get_rng_state()) and not model.training


test_refuses_at_once = refusals_of(
    lambda changes: quick_fit(GPT(TINY), **{"token_ids": TEXT, "n_steps": 1} | changes),
    ({"token_ids": TEXT[:7]}, "needs 8 ids, got 7"),
    ({"token_ids": TEXT[None]}, "one list"),
    ({"n_steps": 0}, "at least 1"),
    ({"batch_size": 0}, "at least 1"),
    ({"token_ids": TEXT + 1}, r"\[0, 17\), got 17"),
)
