"""The GPT: parity with transformers (OPT's stands in tests/storage), causality, sizes, initial loss, refusals."""

from __future__ import annotations

import math

import pytest
import torch
import transformers

from helpers.gpt import GPT, PRESETS, GPTConfig, preset, summed_loss
from helpers.labs import budget

# distinct primes, so that a transposed axis cannot pass
SIZES = {"vocab_size": 101, "context_length": 13, "emb_dim": 21, "n_heads": 3, "n_layers": 2}
TINY = GPTConfig(**SIZES, drop_rate=0.0)
TOKEN_IDS = torch.randint(101, (5, 11), generator=torch.Generator().manual_seed(1))


def scrambled(model: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter, biases and norms too, values that a mistake cannot hide behind."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.mark.parametrize("norm_eps", [1e-5, 0.1])
def test_logits_equal_gpt2_of_transformers(norm_eps):
    shape = dict(vocab_size=101, n_positions=13, n_embd=21, n_head=3, n_layer=2, bos_token_id=0, eos_token_id=0)
    theirs = scrambled(transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, layer_norm_epsilon=norm_eps)))
    ours = GPT(GPTConfig(**SIZES, drop_rate=0.0, norm_eps=norm_eps)).eval()
    source = theirs.transformer
    pairs = [
        (ours.token_embedding.weight, source.wte.weight),
        (ours.position_embedding.weight, source.wpe.weight),
        (ours.final_norm.weight, source.ln_f.weight),
        (ours.final_norm.bias, source.ln_f.bias),
    ]
    for block, other in zip(ours.blocks, source.h, strict=True):
        for mine, conv in [  # GPT-2 stores its linear weights transposed
            (block.attention.qkv, other.attn.c_attn),
            (block.attention.out_proj, other.attn.c_proj),
            (block.feed_forward.expand, other.mlp.c_fc),
            (block.feed_forward.out_proj, other.mlp.c_proj),
        ]:
            pairs += [(mine.weight, conv.weight.T), (mine.bias, conv.bias)]
        for mine, norm in [(block.norm1, other.ln_1), (block.norm2, other.ln_2)]:
            pairs += [(mine.weight, norm.weight), (mine.bias, norm.bias)]
    assert {id(p) for p in ours.parameters()} <= {id(mine) for mine, _ in pairs}, "a parameter got no counterpart"
    with torch.no_grad():
        for mine, their in pairs:
            assert mine.shape == their.shape
            mine.copy_(their)
        torch.testing.assert_close(ours(TOKEN_IDS), theirs(TOKEN_IDS).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("changed", range(11))
def test_no_position_sees_its_future(changed):
    model = scrambled(GPT(TINY))
    other = TOKEN_IDS.clone()
    other[:, changed] = (other[:, changed] + 1) % 101
    with torch.no_grad():
        before, after = model(TOKEN_IDS), model(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed])
    assert not torch.allclose(before[:, changed:], after[:, changed:])


def test_residual_stream_ends_in_the_logits():
    model = scrambled(GPT(TINY))
    with torch.no_grad():
        stream = model.residual_stream(TOKEN_IDS)
        assert [tuple(x.shape) for x in stream] == [(5, 11, 21)] * 3
        torch.testing.assert_close(model.head(model.final_norm(stream[-1])), model(TOKEN_IDS))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2-124m", 124_439_808),
        ("gpt2-355m", 354_823_168),
        ("gpt2-774m", 774_030_080),
        ("gpt2-1558m", 1_557_611_200),
        ("opt-125m", 125_239_296),
        ("book-124m", 163_009_536 - 768 * 768),  # the book counts it at context 1024; here it has 256
    ],
)
def test_presets_have_the_published_number_of_parameters(name, published):
    assert budget.parameter_count(PRESETS[name])["total"] == published


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied_head": False},
        {"qkv_bias": False},
        {"linear_bias": False, "ff_dim": 34, "position_offset": 2},
        {"norm": "rmsnorm"},
        {"positions": "rotary", "emb_dim": 24},
        {"feed_forward": "swiglu"},
        {"feed_forward": "swiglu", "linear_bias": False},
        {"n_kv_heads": 1},
    ],
)
def test_counted_parameters_are_those_of_the_model(changes):
    config = GPTConfig(**SIZES | changes)
    assert budget.parameter_count(config)["total"] == GPT(config).n_params


@pytest.mark.parametrize(("name", "changes"), [("course-small", {}), ("gpt2-124m", {"n_layers": 1})])
@pytest.mark.parametrize("tied", [True, False])
def test_untrained_loss_is_above_ln_v_as_theory_says(name, changes, tied):
    """Logits of variance s = C * 0.02**2 add s / 2 to the loss of a random target: 0.15 nats at GPT-2's width."""
    config = preset(name, tied_head=tied, **changes)
    with torch.no_grad():
        logits = GPT(config).eval()(torch.randint(config.vocab_size, (1, 64)))[0]
    loss_of_any_target = (logits.logsumexp(-1) - logits.mean(-1)).mean().item()
    assert abs(loss_of_any_target - math.log(config.vocab_size) - config.emb_dim * 0.02**2 / 2) < 0.02


@pytest.mark.parametrize(
    "place",
    [lambda m: (m.dropout, "p"), lambda m: (m.blocks[0].attention, "drop_rate"), lambda m: (m.blocks[0].dropout, "p")],
)
def test_each_dropout_works_and_for_training_only(place):
    of = GPT(GPTConfig(**SIZES, drop_rate=0.3))
    assert getattr(*place(of)) == 0.3, "the config reaches it"
    model = GPT(TINY)
    assert torch.equal(model(TOKEN_IDS), model(TOKEN_IDS)), "no dropout yet"
    setattr(*place(model), 0.5)
    assert not torch.equal(model(TOKEN_IDS), model(TOKEN_IDS))
    model.eval()
    assert torch.equal(model(TOKEN_IDS), model(TOKEN_IDS))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradient_checkpointing_computes_a_block_twice_and_the_same_gradients(precision):
    """In training alone, dropout included. That less is kept: tests/labs/test_budget_memory.py."""
    found = []
    for on in (False, True):
        torch.manual_seed(7)
        model, calls = GPT(GPTConfig(**SIZES, drop_rate=0.1)).train(), []
        model.gradient_checkpointing = on
        model.blocks[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = summed_loss(model, TOKEN_IDS[:, :-1], TOKEN_IDS[:, 1:])
        loss.backward()
        found.append([p.grad.clone() for p in model.parameters()])
        model.eval()(TOKEN_IDS).sum().backward()
        assert len(calls) == 2 + on
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_initial_weights_are_as_published():
    model = GPT(preset("course-small", n_layers=3))
    block = model.blocks[1]
    for layer in (block.attention.qkv, block.feed_forward.expand, model.token_embedding, model.position_embedding):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for layer in (block.attention.out_proj, block.feed_forward.out_proj):
        assert layer.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * 3), rel=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("token_ids", "says"),
    [
        (torch.tensor([1, 2, 3]), r"ids\[None\]"),
        (torch.zeros(2, 0, dtype=torch.int64), "at least one"),
        (torch.zeros(1, 14, dtype=torch.int64), "context of 13"),
        (torch.tensor([[0.5]]), "int64"),
        (torch.tensor([[101]]), r"\[0, 101\)"),
        (torch.tensor([[-1]]), "got -1"),
    ],
)
def test_refuses(token_ids, says):
    with pytest.raises(ValueError, match=says):
        GPT(TINY)(token_ids)
