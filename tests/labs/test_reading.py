"""A model laid out for reading, a large head cut for the threads: the same scores and texts, the original untouched."""

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, generate
from helpers.labs import speed

CONFIG = GPTConfig(vocab_size=53, context_length=31, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.2)
WIDE = GPTConfig(vocab_size=2353, context_length=31, emb_dim=28, n_heads=7, n_layers=1, drop_rate=0.0)  # a head to cut
PROMPTS = [torch.arange(n) * 5 % 53 for n in (1, 6, 13)]
IDS = torch.arange(58).view(2, 29) % 53


@pytest.fixture(params=[CONFIG, WIDE], ids=["small matrices", "a large head"])
def model(request) -> GPT:
    torch.manual_seed(0)
    return GPT(request.param)


def test_scores_are_the_models_and_it_is_left_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reader = speed.for_reading(model)
    assert not reader.training and model.training and not reader(IDS).requires_grad
    speed.for_reading(model, torch.bfloat16)
    assert all(torch.equal(v, before[name]) and v.dtype == torch.float32 for name, v in model.state_dict().items())
    assert model.head.weight is model.token_embedding.weight and all(p.requires_grad for p in model.parameters())
    torch.testing.assert_close(reader(IDS), model.eval()(IDS).detach())
    torch.testing.assert_close(reader(IDS[:1, :1]), model(IDS[:1, :1]).detach())  # one row


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 0.8, "top_k": 9}, {"top_p": 0.8}])
def test_texts_are_the_models(model, settings):
    with torch.no_grad():
        for p in model.parameters():
            p *= 8
    expected = [row.tolist() for row in generate(model, PROMPTS, 17, **settings)]
    for use_cache in (True, False):
        got = generate(speed.for_reading(model), PROMPTS, 17, use_cache=use_cache, **settings)
        assert [row.tolist() for row in got] == expected


def test_bfloat16_is_a_rounding_away(model):
    reader = speed.for_reading(model, torch.bfloat16)
    whole = model.eval()(IDS).detach()
    for rows in (IDS, IDS[:1, :1]):  # several rows, and the one that a new token is
        got, exact = reader(rows), whole[: rows.shape[0], : rows.shape[1]]
        assert got.dtype == torch.bfloat16 and not torch.equal(got.float(), exact)
        assert (got.float() - exact).abs().max() < 0.02 * whole.abs().max()
    assert torch.backends.mkldnn.enabled
    assert generate(reader, PROMPTS, 1)[0].shape == (2,)
