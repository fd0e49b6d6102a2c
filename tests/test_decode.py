"""Generation against a loop by hand, and sampled frequencies against probabilities."""

from __future__ import annotations

import pytest
import torch

from helpers.config import GPTConfig
from helpers.decode import generate
from helpers.model import GPT

TINY = GPTConfig(vocab_size=13, context_length=5, emb_dim=12, n_heads=2, n_layers=1, drop_rate=0.4)
PROMPTS = torch.tensor([[1, 2, 3], [7, 0, 12]])


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(TINY)
    with torch.no_grad():
        for p in model.parameters():
            p *= 8  # an untrained model hardly prefers anything
    return model


def test_greedy_is_the_argmax_loop_also_past_the_context(model):
    got = generate(model, PROMPTS, 9, temperature=0)
    assert model.training, "the mode must be put back"
    model.eval()
    ids = PROMPTS.tolist()
    for _ in range(9):
        for row in ids:
            row.append(model(torch.tensor([row[-5:]]))[0, -1].argmax().item())
    assert got.tolist() == ids and got.dtype == torch.int64
    assert torch.equal(generate(model, PROMPTS, 9, top_k=1), got)
    assert torch.equal(generate(model, PROMPTS, 9, temperature=1e-30), got)  # the limit, without overflow
    assert torch.equal(generate(model, PROMPTS, 0), PROMPTS)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 13)])
def test_frequencies_are_probabilities(model, temperature, top_k):
    n = 4000
    drawn = generate(model, PROMPTS[:1].expand(n, -1), 1, temperature=temperature, top_k=top_k)[:, -1]
    model.eval()
    scores = (model(PROMPTS[:1])[0, -1].double() / temperature).tolist()
    kept = sorted(range(13), key=lambda i: -scores[i])[:top_k]
    odds = torch.tensor([scores[i] if i in kept else -torch.inf for i in range(13)]).exp()
    probs = odds / odds.sum()
    share = torch.bincount(drawn, minlength=13) / n
    error = (probs * (1 - probs) / n).sqrt()
    assert ((share - probs).abs() <= 5 * error).all()
    assert share[probs == 0].sum() == 0


def test_top_k_keeps_exactly_k_of_equals(model):
    torch.nn.init.zeros_(model.final_norm.weight)
    torch.nn.init.zeros_(model.final_norm.bias)  # all scores are 0
    assert len(generate(model, PROMPTS[:1].expand(500, -1), 1, top_k=3)[:, -1].unique()) == 3
    assert len(generate(model, PROMPTS[:1].expand(500, -1), 1)[:, -1].unique()) == 13


def test_draws_come_from_the_given_generator_and_no_other(model):
    before = torch.get_rng_state()
    first = generate(model, PROMPTS, 20)
    assert torch.equal(first, generate(model, PROMPTS, 20))
    own = torch.Generator().manual_seed(0)
    assert torch.equal(first, generate(model, PROMPTS, 20, generator=own))
    assert not torch.equal(first, generate(model, PROMPTS, 20, generator=own))  # it has moved on
    assert torch.equal(before, torch.get_rng_state())
    assert not first.requires_grad


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_new": -1}, "n_new >= 0"),
        ({"temperature": -0.1}, "temperature >= 0"),
        ({"temperature": float("inf")}, "finite"),
        ({"temperature": float("nan")}, "finite"),
        ({"top_k": 0}, r"\[1, 13\]"),
        ({"top_k": 14}, "14"),
        ({"token_ids": PROMPTS[:, :0]}, "at least one token"),
        ({"token_ids": PROMPTS + 1}, r"\[0, 13\)"),
    ],
)
def test_refuses(model, changes, says):
    with pytest.raises(ValueError, match=says):
        generate(model, **{"token_ids": PROMPTS, "n_new": 1} | changes)
