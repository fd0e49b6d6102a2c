"""A model laid out for reading: the same scores, the original untouched, the layouts that a CPU reads fast."""

from __future__ import annotations

import pytest
import torch

from helpers.gpt import GPT, GPTConfig
from helpers.gpt.decode import _layout, for_reading, generate

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


def test_tokens_are_the_models_for_every_strategy(model, monkeypatch):
    monkeypatch.setattr(_layout, "MIN_SIZE", 1)
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


@pytest.mark.parametrize("n_pieces", [1, 2, 3])
@pytest.mark.parametrize("shape", [(53, 28), (28, 112)])
def test_pieces_are_the_matrix(shape, n_pieces):
    linear = torch.nn.Linear(shape[1], shape[0]).requires_grad_(False)
    for bias in (linear.bias, None):
        cut = _layout._CutLinear(linear.weight, bias, n_pieces)
        for x in (torch.randn(shape[1]), torch.randn(1, 1, shape[1]), torch.randn(2, 5, shape[1])):
            torch.testing.assert_close(cut(x), torch.nn.functional.linear(x, linear.weight, bias))
        assert len(cut.pieces) == n_pieces
        by_column = shape[0] >= shape[1]
        assert cut.pieces.stride(-1 if by_column else -2) == 1, "the order in which memory is read"


def test_only_large_matrices_are_cut(model, monkeypatch):
    assert not any(isinstance(part, _layout._CutLinear) for part in for_reading(model).modules())
    monkeypatch.setattr(_layout, "MIN_SIZE", 53 * 28)
    reader = for_reading(model)
    assert isinstance(reader.head, _layout._CutLinear)
    assert len(reader.head.pieces) == torch.get_num_threads()
    assert isinstance(reader.blocks[0].attention.out_proj, torch.nn.Linear)
    ids = torch.arange(58).view(2, 29) % 53
    torch.testing.assert_close(reader(ids), model.eval()(ids).detach())


@pytest.mark.skipif(not _layout._has_blocks(), reason="needs oneDNN's bfloat16 instructions")
@pytest.mark.parametrize(("fast_rows", "kind"), [(True, _layout._RowLinear), (False, _layout._BlockedLinear)])
def test_bfloat16_matrices_are_read_by_row_or_in_blocks(fast_rows, kind, model, monkeypatch):
    monkeypatch.setattr(_layout, "_reads_rows", lambda: fast_rows)
    reader = for_reading(model, torch.bfloat16)
    assert isinstance(reader.head, kind) and not any(isinstance(m, torch.nn.Linear) for m in reader.modules())
    weight = model.head.weight.detach().bfloat16()
    for rows in (1, 7):
        x = torch.randn(rows, 28).bfloat16()
        expected = x.float() @ weight.float().T
        torch.testing.assert_close(reader.head(x).float(), expected, atol=0.01, rtol=0.01)
    assert torch.backends.mkldnn.enabled
