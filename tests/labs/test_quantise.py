"""Weights in a few bits: equal to ggml's, every weight at its nearest level; what a model is then; and the record."""

import gguf
import numpy as np
import pytest
import torch

from helpers.gpt import GPT, GPTConfig, loss
from helpers.labs import quantise
from tests.support import refusals_of, refused

SHAPE = dict(vocab_size=64, context_length=16, emb_dim=32, n_heads=4, n_layers=2, drop_rate=0.0)


def matrix(seed: int = 0) -> torch.Tensor:
    """Rows of several sizes, one that is constant, one of zeros, one with an outlier."""
    weights = torch.randn(11, 96, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-1, 2, 11)[:, None]
    weights[3], weights[4], weights[5, 7] = 0.7, 0.0, 1e3
    return weights


def test_by_hand():
    """31 weights from 0 to 3 and one of 3.2: four levels, 0, 1.0667, 2.1333 and 3.2."""
    weights = torch.tensor([0.0, 0.5, 0.6, 1.1, 1.7, 3.0] + [2.0] * 25 + [3.2])
    levels = torch.tensor([0, 0, 1, 1, 2, 3]) * 3.2 / 3
    torch.testing.assert_close(quantise.rounded(weights, 2)[:6], levels, atol=3e-3, rtol=0)
    assert quantise.bits_per_weight(2) == 3
    tiny = torch.linspace(-1e-40, 1e-39, 32)  # 1 / scale would be infinite
    assert all(not quantise.rounded(tiny, 8, minimum=minimum).any() for minimum in (True, False))


@pytest.mark.parametrize(("name", "n_bits", "minimum"), [("Q4_1", 4, True), ("Q5_1", 5, True), ("Q8_0", 8, False)])
def test_equal_to_ggml(name, n_bits, minimum):
    kind = gguf.GGMLQuantizationType[name]
    for seed in range(3):
        theirs = gguf.quants.dequantize(gguf.quants.quantize(matrix(seed).numpy(), kind), kind)
        assert np.array_equal(quantise.rounded(matrix(seed), n_bits, minimum=minimum).numpy(), theirs)


@pytest.mark.parametrize("n_bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("minimum", [True, False])
def test_every_weight_goes_to_its_nearest_level(n_bits, minimum):
    blocks = matrix().view(-1, 32)
    found = quantise.rounded(blocks, np.int8(n_bits), minimum=minimum)
    sizes = blocks.abs().amax(1, keepdim=True)
    lowest, highest = blocks.aminmax(dim=1, keepdim=True)
    begins, ends = (lowest, highest) if minimum else (-sizes, sizes)
    shares = torch.linspace(0, 1, 2**n_bits if minimum else 2**n_bits - 1)
    levels = begins + (ends - begins) * shares  # (n_blocks, levels)
    rounding = 2e-3 * sizes  # scale and minimum in float16
    assert ((found[:, :, None] - levels[:, None]).abs().amin(-1) <= rounding).all()
    assert ((blocks - found).abs() <= (blocks[:, :, None] - levels[:, None]).abs().amin(-1) + rounding).all()


def test_rounding_again_changes_nothing():
    """As where a file of 4 bits is rounded to 4 bits; not with another number of levels."""
    once = quantise.rounded(torch.randn(8, 64, generator=torch.Generator().manual_seed(0)), 4)
    assert (quantise.rounded(once, 4) - once).abs().max() <= 1e-3
    assert (quantise.rounded(once, 5) - once).abs().max() > 1e-2


test_refuses = refusals_of(
    lambda weights, n_bits: quantise.rounded(weights, n_bits),
    (torch.ones(33), 4, "multiple of 32"),
    (torch.ones(32), 9, "n_bits from 2 to 8"),
    (torch.ones(32), 1, "n_bits must be a whole number of at least 2"),
    (torch.full((32,), float("nan")), 4, "finite"),
    (torch.tensor([1e7] + [0.0] * 31), 4, "float16 does not hold"),
)


@pytest.mark.parametrize("modern", [False, True])
def test_a_model_is_rounded_by_kind(modern):
    """Every parameter but norms and biases is of one kind; others stay as they are, and so does the original."""
    torch.manual_seed(0)
    changes = dict(norm="rmsnorm", positions="rotary", feed_forward="swiglu", n_kv_heads=2) if modern else {}
    model = GPT(GPTConfig(**SHAPE, **changes))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    kinds = {name: quantise.kind_of(name) for name in before}
    assert {name for name, kind in kinds.items() if kind is None} == {n for n in before if "norm" in n or "bias" in n}
    for part in quantise.KINDS:
        changed = quantise.quantised_copy(model, {part: 3})
        moved = {name for name, parameter in changed.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved == {name for name, kind in kinds.items() if kind == part}
        assert changed.head.weight is changed.token_embedding.weight
        assert 0.05 < quantise.relative_error(model, changed) < 0.4
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert quantise.relative_error(model, model) == 0
    n = sum(before[name].numel() for name, kind in kinds.items() if kind == "attention")
    assert quantise.size_bytes(model, {}) - quantise.size_bytes(model, {"attention": 3}) == n * (16 - 4) / 8
    for function in (quantise.quantised_copy, quantise.size_bytes):
        refused("no kind of matrix named head; there are embedding, attention", function, model, {"head": 4})


def test_surprisals_are_those_of_the_loss():
    torch.manual_seed(0)
    model, ids = GPT(GPTConfig(**SHAPE)), torch.arange(41) * 7 % 64
    losses = quantise.surprisals(model, ids, 16)
    assert losses.shape == (40,) and not losses.requires_grad
    with torch.no_grad():
        first = loss.token_losses(model(ids[None, :16]), ids[None, 1:17])[0]
    torch.testing.assert_close(losses[:16], first)


def test_a_recorded_point_is_made_again():
    then = next(run for run in quantise.read()["runs"] if run["setting"] == ["course", "attention", 4])
    again = quantise.measure("course", "attention", 4)
    assert abs(again["more"] - then["more"]) < 1e-4 and again["megabytes"] == then["megabytes"]
