"""Dropout on a CPU: the mask's rate, attention against the textbook in double precision, gradients, and seeds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from helpers.gpt import dropout
from helpers.gpt.dropout import Dropout, causal_attention

B, H, T, D = 1, 2, 131, 7  # two whole blocks of queries and a rest
DROP_RATE = 0.3


def three(dtype: torch.dtype = torch.float64, n_tokens: int = T) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(B, H, n_tokens, D, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(3)
    ]


def masks_of_the_next_call(n_tokens: int, drop_rate: float) -> torch.Tensor:
    """The (B, H, T, T) weights that the next call keeps; the generator is left as it was."""
    state = torch.get_rng_state()
    keep = torch.zeros(B * H, n_tokens, n_tokens, dtype=torch.bool)
    for start in range(0, n_tokens, dropout.QUERY_ROWS):
        end = min(start + dropout.QUERY_ROWS, n_tokens)
        keep[:, start:end, :end] = dropout.keep_mask((B * H, end - start, end), drop_rate)
    torch.set_rng_state(state)
    return keep.view(B, H, n_tokens, n_tokens)


def textbook(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor, drop_rate: float) -> torch.Tensor:
    future = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(2, 3) / math.sqrt(D)).masked_fill(future, -math.inf)
    return (torch.softmax(scores, dim=-1) * keep / (1 - dropout.effective_rate(drop_rate))) @ v


def value_and_gradients(function, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    value = function(*inputs)
    direction = torch.linspace(-1, 1, value.numel(), dtype=torch.float64).view(value.shape).to(value.dtype)
    return [value, *torch.autograd.grad(value, inputs, direction)]


@pytest.mark.parametrize("n_tokens", [1, 13, dropout.QUERY_ROWS, T])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_attention_is_the_textbook_s_with_the_same_mask(n_tokens, dtype, within):
    keep = masks_of_the_next_call(n_tokens, DROP_RATE)
    found = value_and_gradients(lambda *x: causal_attention(*x, DROP_RATE), three(dtype, n_tokens))
    exact = [x.detach().double().requires_grad_() for x in three(dtype, n_tokens)]
    expected = value_and_gradients(lambda *x: textbook(*x, keep, DROP_RATE), exact)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, atol=within * max(1, theirs.abs().max().item()), rtol=0)


def test_gradients_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(dropout, "QUERY_ROWS", 2)

    def seeded(*inputs):
        torch.manual_seed(3)
        return causal_attention(*inputs, DROP_RATE)

    assert torch.autograd.gradcheck(seeded, three(n_tokens=5))
    layer = Dropout(DROP_RATE)
    assert torch.autograd.gradcheck(lambda x: (torch.manual_seed(3), layer(x))[1], three(n_tokens=2)[:1])


def test_no_query_sees_a_later_key():
    q, k, v = three()
    torch.manual_seed(1)
    before = causal_attention(q, k, v, DROP_RATE)
    torch.manual_seed(1)
    after = causal_attention(q, k + (torch.arange(T) >= 70)[:, None], v + (torch.arange(T) >= 70)[:, None], DROP_RATE)
    assert torch.equal(before[:, :, :70], after[:, :, :70])
    assert not torch.equal(before[:, :, 70:], after[:, :, 70:])


def test_without_dropout_it_is_torch_s():
    inputs = three(torch.float32)
    assert torch.equal(causal_attention(*inputs), F.scaled_dot_product_attention(*inputs, is_causal=True))


@pytest.mark.parametrize("drop_rate", [0.0, 0.1, 0.5, 0.999])
def test_the_mask_drops_at_its_rate(drop_rate):
    n = 1_000_003  # no multiple of four
    dropped = 1 - dropout.keep_mask((n,), drop_rate).double().mean().item()
    assert abs(dropped - drop_rate) < 5 * math.sqrt(drop_rate * (1 - drop_rate) / n) + 0.5 / dropout.LEVELS
    assert abs(dropout.effective_rate(drop_rate) - drop_rate) <= 0.5 / dropout.LEVELS


def test_every_place_of_a_draw_is_dropped_alike():
    keep = dropout.keep_mask((250_000, 4), 0.5).double()
    torch.testing.assert_close(keep.mean(0), torch.full((4,), 0.5, dtype=torch.float64), atol=0.005, rtol=0)
    assert (torch.corrcoef(keep.T) - torch.eye(4)).abs().max() < 0.01, "places of one draw depend on each other"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_keeps_the_mean_and_scales_what_stays(dtype):
    layer = Dropout(0.25)
    x = torch.ones(400, 401, dtype=dtype, requires_grad=True)
    y = layer(x)
    assert y.dtype == dtype
    assert set(y.detach().float().unique().tolist()) == {0.0, torch.tensor(4 / 3, dtype=dtype).item()}
    assert y.float().mean().item() == pytest.approx(1, abs=0.01)
    y.sum().backward()
    assert torch.equal(x.grad, y), "what was dropped has no gradient, what stayed the scale"
    assert layer.eval()(x) is x or torch.equal(layer(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()


def test_a_seed_gives_the_same_again_and_the_generator_moves():
    def once():
        return Dropout(0.5)(torch.ones(50)), causal_attention(*three(), DROP_RATE)

    torch.manual_seed(2)
    first, then = once(), once()
    torch.manual_seed(2)
    again = once()
    for a, b, c in zip(first, again, then, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_under_autocast_the_products_are_bfloat16_and_gradients_come_back_in_the_inputs_dtype():
    inputs = three(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = causal_attention(*inputs, DROP_RATE)
    assert mixed.dtype == torch.bfloat16
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(mixed.float().sum(), inputs))


def test_only_masks_of_a_byte_are_kept():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        causal_attention(*three(torch.float32), DROP_RATE)
    large = [x for x in kept if x.numel() > B * H * T * D]
    assert large and all(x.dtype == torch.bool for x in large)


def test_what_is_refused():
    q, k, v = three(n_tokens=3)
    for wrong in (-0.1, 1.0, math.nan, 1 - 1e-9):
        with pytest.raises(ValueError, match=r"drop_rate must be in \[0, 1\)"):
            causal_attention(q, k, v, wrong)
    for inputs in ((q, k, v[:, :, :2]), (q[0], k[0], v[0])):
        with pytest.raises(ValueError, match=r"one shape \(B, H, T, D\)"):
            causal_attention(*inputs)
