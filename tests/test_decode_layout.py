"""A model laid out for reading: the same scores, the original untouched, the layouts that a CPU reads fast."""

from __future__ import annotations

import pytest
import torch

from helpers.config import GPTConfig
from helpers.decode import for_reading, generate
from helpers.decode._layout import _has_blocks
from helpers.model import GPT

CONFIG = GPTConfig(vocab_size=53, context_length=31, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.2, tied_head=True)
PROMPTS = [torch.arange(n) * 5 % 53 for n in (1, 6, 13)]


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG)


def test_scores_are_the_models(model):
    reader = for_reading(model)
    assert not reader.training and model.training
    ids = torch.arange(58).view(2, 29) % 53
    model.eval()
    torch.testing.assert_close(reader(ids), model(ids).detach())
    assert not reader(ids).requires_grad


def test_tokens_are_the_models_for_every_strategy(model):
    with torch.no_grad():
        for p in model.parameters():
            p *= 8
    for settings in ({"temperature": 0}, {"temperature": 0.8, "top_k": 9}, {"top_p": 0.8}, {"min_p": 0.1}):
        for use_cache in (True, False):
            ours = generate(for_reading(model), PROMPTS, 17, use_cache=use_cache, **settings)
            assert [r.tolist() for r in ours] == [r.tolist() for r in generate(model, PROMPTS, 17, **settings)]


def test_bfloat16_is_a_rounding_away(model):
    reader = for_reading(model, torch.bfloat16)
    ids = torch.arange(58).view(2, 29) % 53
    got, whole = reader(ids).float(), model.eval()(ids).detach()
    assert (got - whole).abs().max() < 0.02 * whole.abs().max()
    assert reader(ids).dtype == torch.bfloat16 and not torch.equal(got, whole)
    plain = generate(model.bfloat16(), PROMPTS, 1)[0]
    assert plain.shape == generate(reader, PROMPTS, 1)[0].shape


def test_the_original_is_left_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for_reading(model, torch.bfloat16)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) and value.dtype == torch.float32
    assert model.head.weight is model.token_embedding.weight
    assert all(p.requires_grad for p in model.parameters())


def test_wide_matrices_lie_by_columns(model):
    reader = for_reading(model)
    for layer in (reader.head, reader.blocks[0].attention.qkv, reader.blocks[0].feed_forward.expand):
        assert layer.columns.stride() == (1, layer.columns.shape[0])
    assert isinstance(reader.blocks[0].feed_forward.out_proj, torch.nn.Linear)


@pytest.mark.skipif(not _has_blocks(), reason="needs oneDNN's bfloat16 instructions")
def test_bfloat16_matrices_are_in_blocks(model):
    reader = for_reading(model, torch.bfloat16)
    assert reader.head.blocks.is_mkldnn and not any(isinstance(m, torch.nn.Linear) for m in reader.modules())
