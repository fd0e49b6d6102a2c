"""The GPT: causality, sizes, initial loss, refusals. Parity with transformers: test_llama.py and tests/storage."""

import math

import pytest
import torch

from helpers.gpt import GPT, PRESETS, GPTConfig, preset, summed_loss
from helpers.labs import budget
from tests.support import lively, refusals_of

# distinct primes, so that a transposed axis cannot pass
SIZES = {"vocab_size": 101, "context_length": 13, "emb_dim": 21, "n_heads": 3, "n_layers": 2}
TINY = GPTConfig(**SIZES, drop_rate=0.0)
TOKEN_IDS = torch.randint(101, (5, 11), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changed", range(11))
def test_no_position_sees_its_future(changed):
    model = lively(GPT(TINY))
    other = TOKEN_IDS.clone()
    other[:, changed] = (other[:, changed] + 1) % 101
    with torch.no_grad():
        before, after = model(TOKEN_IDS), model(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed])
    assert not torch.allclose(before[:, changed:], after[:, changed:])


def test_residual_stream_ends_in_the_logits():
    model = lively(GPT(TINY))
    with torch.no_grad():
        stream = model.residual_stream(TOKEN_IDS)
        assert [tuple(x.shape) for x in stream] == [(5, 11, 21)] * 3
        torch.testing.assert_close(model.head(model.final_norm(stream[-1])), model(TOKEN_IDS))


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


def test_presets_have_the_published_number_of_parameters():
    assert {name: budget.parameter_count(PRESETS[name])["total"] for name in PRESETS if "course" not in name} == {
        "gpt2-124m": 124_439_808,
        "gpt2-355m": 354_823_168,
        "gpt2-774m": 774_030_080,
        "gpt2-1558m": 1_557_611_200,
        "opt-125m": 125_239_296,
        "book-124m": 163_009_536 - 768 * 768,  # the book counts it at context 1024; here it has 256
    }


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


test_refuses = refusals_of(
    lambda token_ids: GPT(TINY)(token_ids),
    (torch.tensor([1, 2, 3]), r"ids\[None\]"),
    (torch.zeros(2, 0, dtype=torch.int64), "at least one"),
    (torch.zeros(1, 14, dtype=torch.int64), "context of 13"),
    (torch.tensor([[0.5]]), "int64"),
    (torch.tensor([[101]]), r"\[0, 101\)"),
    (torch.tensor([[-1]]), "got -1"),
)
