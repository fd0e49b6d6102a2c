"""The six steps against hand-computed values and torch; perplexity; a mean that counts every token once."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.gpt import loss


def test_six_steps_by_hand():
    """Odds 1 : 2 : 5 and 4 : 4 : 2, so that every probability is a plain fraction."""
    logits = torch.tensor([[[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]]]).log()
    steps = loss.six_steps(logits, torch.tensor([[2, 0]]))
    torch.testing.assert_close(steps.probs, torch.tensor([[[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]]]))
    torch.testing.assert_close(steps.target_probs, torch.tensor([[0.625, 0.4]]))
    torch.testing.assert_close(steps.log_probs, torch.tensor([[math.log(0.625), math.log(0.4)]]))
    assert steps.mean_log_prob.item() == pytest.approx(math.log(0.25) / 2)  # 0.625 * 0.4 = 0.25
    assert steps.loss_nats.item() == pytest.approx(math.log(2))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(2, 11), st.integers(0, 999))
def test_six_steps_token_losses_and_torch_agree(B, T, V, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, T, V, generator=generator) * 3
    targets = torch.randint(V, (B, T), generator=generator)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss.six_steps(logits, targets).loss_nats, expected)
    torch.testing.assert_close(loss.next_token_loss(logits, targets), expected)
    torch.testing.assert_close(loss.token_losses(logits, targets).mean(), expected)
    torch.testing.assert_close(loss.next_token_loss(logits + 1000, targets), expected, atol=1e-3, rtol=0)  # a shift


def test_large_logits_do_not_break_the_fast_path():
    logits = torch.tensor([[[0.0, 1000.0]]])
    targets = torch.tensor([[0]])
    assert loss.six_steps(logits, targets).loss_nats.isinf()  # ln 0: why the fast path exists
    assert loss.next_token_loss(logits, targets).item() == 1000


def test_masked_targets_are_not_scored():
    logits = torch.randn(1, 3, 5)
    masked = torch.tensor([[4, loss.IGNORED_TARGET, 2]])
    losses = loss.token_losses(logits, masked)
    assert losses[0, 1] == 0
    assert loss.next_token_loss(logits, masked).item() == pytest.approx((losses[0, 0] + losses[0, 2]).item() / 2)
    with pytest.raises(ValueError, match="no target"):
        loss.next_token_loss(logits, torch.full((1, 3), loss.IGNORED_TARGET))
    with pytest.raises(ValueError, match="targets must be"):
        loss.six_steps(logits, masked)


@pytest.mark.parametrize("function", [loss.six_steps, loss.token_losses, loss.next_token_loss])
@pytest.mark.parametrize(
    ("logits_shape", "targets", "says"),
    [
        ((3, 5), torch.zeros(3, dtype=torch.int64), r"x\[None\]"),
        ((1, 3, 5), torch.zeros(1, 2, dtype=torch.int64), r"\(1, 3, 5\) and \(1, 2\)"),
        ((1, 0, 5), torch.zeros(1, 0, dtype=torch.int64), r"\(1, 0\)"),
        ((1, 2, 5), torch.tensor([[0, 5]]), r"\[0, 5\)"),
        ((1, 2, 5), torch.tensor([[0, -1]]), "-1"),
    ],
)
def test_refuses(function, logits_shape, targets, says):
    with pytest.raises(ValueError, match=says):
        function(torch.zeros(logits_shape), targets)


def test_entropy_of_dice_and_of_certainty():
    for n in (1, 2, 6, 50257):
        assert loss.entropy(torch.zeros(n)).item() == pytest.approx(math.log(n), abs=1e-3)
    assert loss.entropy(torch.tensor([0.0, -math.inf])).item() == 0
    assert loss.entropy(torch.tensor([0.5, 0.25, 0.25]).log()).item() == pytest.approx(1.5 * math.log(2))
    assert loss.entropy(torch.tensor([math.nan, 0.0])).isnan()


def test_perplexity():
    assert loss.perplexity(0.0) == 1
    assert loss.perplexity(torch.tensor(math.log(6))) == pytest.approx(6, rel=1e-6)
    assert loss.perplexity(1000.0) == math.inf
    for wrong in (-0.1, math.nan):
        with pytest.raises(ValueError, match="at least 0"):
            loss.perplexity(wrong)
    with pytest.raises(ValueError, match="take its mean"):
        loss.perplexity(torch.ones(2))


def test_bits_per_byte_by_hand():
    assert loss.bits_per_byte(math.log(2) * 8, n_tokens=3, n_bytes=12) == pytest.approx(2.0)
    assert loss.bits_per_byte(math.log(2) * 8, n_tokens=5, n_bytes=20) == pytest.approx(2.0)
    for n_tokens, n_bytes in [(3, 0), (0, 3)]:
        with pytest.raises(ValueError, match="one byte"):
            loss.bits_per_byte(1.0, n_tokens, n_bytes)


@pytest.mark.parametrize("function", [loss.token_losses, loss.next_token_loss, lambda x, y: loss.entropy(x)])
def test_half_precision_logits_are_scored_in_float32(function):
    logits = torch.randn(1, 2, 11).bfloat16()
    targets = torch.tensor([[3, 7]])
    assert function(logits, targets).dtype == torch.float32
    torch.testing.assert_close(function(logits, targets), function(logits.float(), targets))


class Echo(torch.nn.Module):
    """Scores by a table, so that every loss is known."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(7, 7, generator=torch.Generator().manual_seed(2)))

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        assert not self.training, "evaluation must switch dropout off"
        assert not torch.is_grad_enabled(), "evaluation must not keep a graph"
        return self.table[token_ids]


def test_token_weighted_loss_is_one_mean_over_all_tokens():
    model = Echo()
    ids = torch.randint(7, (1, 14), generator=torch.Generator().manual_seed(3))
    ragged = [(ids[:, :11], ids[:, 1:12]), (ids[:, 11:13], ids[:, 12:14])]
    report = loss.token_weighted_loss(model, ragged)
    whole = F.cross_entropy(model.table[ids[0, :-1]], ids[0, 1:]).item()
    mean_of_means = sum(F.cross_entropy(model.table[x[0]], y[0]).item() for x, y in ragged) / 2
    assert report.n_tokens == 13
    assert report.loss_nats == pytest.approx(whole, rel=1e-6)
    assert report.perplexity == pytest.approx(math.exp(whole), rel=1e-6)
    assert mean_of_means != pytest.approx(whole, rel=1e-3)
    assert model.training, "the mode must be put back"


def test_masked_targets_do_not_count_in_the_mean():
    model = Echo()
    ids, targets = torch.tensor([[1, 2, 3]]), torch.tensor([[4, loss.IGNORED_TARGET, 6]])
    report = loss.token_weighted_loss(model, [(ids, targets)])
    expected = F.cross_entropy(model.table[torch.tensor([1, 3])], torch.tensor([4, 6])).item()
    assert (report.n_tokens, report.loss_nats) == (2, pytest.approx(expected, rel=1e-6))


def test_evaluating_restores_each_part():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5))
    model[1].eval()  # frozen on purpose
    with loss.evaluating(model):
        assert not model.training and not model[0].training
    assert model.training and model[0].training and not model[1].training
    with loss.evaluating(lambda ids: ids):
        pass


def test_token_weighted_loss_restores_the_mode_and_refuses_nothing_to_score():
    model = Echo()
    with pytest.raises(ValueError, match="no token"):
        loss.token_weighted_loss(model, [])
    with pytest.raises(ValueError, match="targets"):
        loss.token_weighted_loss(model, [(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[0, 7]]))])
    assert model.training


def hidden_case(shape=(2, 5), C=3, V=11, masked=True, seed=0):
    """hidden (B, T, C), head_weight (V, C), targets (B, T), some of them masked."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, C, generator=generator, requires_grad=True)
    weight = torch.randn(V, C, generator=generator, requires_grad=True)
    targets = torch.randint(V, shape, generator=generator)
    if masked:
        targets[0, 1::2] = loss.IGNORED_TARGET
    return hidden, weight, targets


def from_logits(hidden, weight, targets, reduction="mean"):
    return F.cross_entropy((hidden @ weight.T).flatten(0, 1).float(), targets.flatten(), reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("chunk_tokens", [1, 3, 5, 10, 999])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_from_hidden_is_cross_entropy_with_its_gradients(reduction, chunk_tokens, masked):
    hidden, weight, targets = hidden_case(masked=masked)
    value = loss.loss_from_hidden(hidden, weight, targets, reduction=reduction, chunk_tokens=chunk_tokens)
    expected = from_logits(hidden, weight, targets, reduction)
    torch.testing.assert_close(value, expected)
    # times 7: as a loss scale, or a part of a larger loss
    got, wanted = (torch.autograd.grad(7 * x, (hidden, weight)) for x in (value, expected))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_loss_from_hidden_in_parts_that_do_not_divide(monkeypatch, precision, within):
    """Rows scored 2 at a time, gradients of the vocabulary 3 at a time, in chunks of 7 of 10 positions."""
    monkeypatch.setattr(loss, "SCORED_ROWS", 2)
    monkeypatch.setattr(loss, "PRODUCT_ROWS", 3)
    hidden, weight, targets = hidden_case(masked=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        value = loss.loss_from_hidden(hidden, weight, targets, chunk_tokens=7)
    expected = from_logits(hidden, weight, targets)
    got, wanted = (torch.autograd.grad(x, (hidden, weight)) for x in (value, expected))
    torch.testing.assert_close(value, expected, rtol=within, atol=within)
    torch.testing.assert_close(got, wanted, rtol=within, atol=within)


def test_loss_from_hidden_by_hand():
    hidden, weight = torch.tensor([[[1.0], [2.0]]]).log(), torch.tensor([[0.0], [1.0]])  # odds 1 : 1, then 1 : 2
    value = loss.loss_from_hidden(hidden, weight, torch.tensor([[0, 1]]))
    assert value.item() == pytest.approx((math.log(2) + math.log(1.5)) / 2)


def test_loss_from_hidden_of_large_scores_and_of_masked_nonsense():
    hidden = torch.tensor([[[0.0], [1e4], [math.nan]]], requires_grad=True)
    targets = torch.tensor([[0, 1, loss.IGNORED_TARGET]])
    value = loss.loss_from_hidden(hidden, torch.tensor([[1.0], [-1.0]]), targets, reduction="sum")
    value.backward()
    assert value.item() == pytest.approx(math.log(2) + 2e4)
    assert hidden.grad[0, :2, 0].tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("only", ["hidden", "weight"])
def test_only_one_gradient_is_wanted(only):
    hidden, weight, targets = hidden_case()
    (weight if only == "hidden" else hidden).requires_grad_(False)
    loss.loss_from_hidden(hidden, weight, targets, chunk_tokens=3).backward()
    got = (hidden.grad, weight.grad)
    hidden.grad = weight.grad = None
    from_logits(hidden, weight, targets).backward()
    for a, b in zip(got, (hidden.grad, weight.grad), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


def test_loss_from_hidden_twice_in_one_graph_and_backward_once_each():
    hidden, weight, targets = hidden_case()
    both = loss.loss_from_hidden(hidden, weight, targets) + 3 * loss.loss_from_hidden(hidden * 2, weight, targets)
    both.backward(retain_graph=True)
    got = (hidden.grad, weight.grad)
    hidden.grad = weight.grad = None
    (from_logits(hidden, weight, targets) + 3 * from_logits(hidden * 2, weight, targets)).backward()
    torch.testing.assert_close(got, (hidden.grad, weight.grad))
    with pytest.raises(RuntimeError, match="call it again"):
        both.backward()


def test_loss_from_hidden_of_a_matrix_that_is_also_the_embedding():
    _, weight, targets = hidden_case(C=3)
    ids = torch.arange(10).view(2, 5)
    gradients = []
    for function in (loss.loss_from_hidden, from_logits):
        weight.grad = None
        function(torch.tanh(weight[ids]), weight, targets).backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients)


def test_loss_from_hidden_under_bfloat16_autocast():
    hidden, weight, targets = hidden_case((3, 7), C=5, V=13)
    gradients, values = [], []
    for function in (loss.loss_from_hidden, from_logits):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = function(hidden, weight, targets)
        values.append(value)
        gradients.append(torch.autograd.grad(value, (hidden, weight)))
        assert value.dtype == torch.float32
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=5e-2, atol=5e-3)
    assert values[0].item() != from_logits(hidden, weight, targets).item()


class LargestTensor(TorchDispatchMode):
    """The most numbers that any operation inside the block has put out at once."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


def test_loss_from_hidden_never_holds_all_scores():
    hidden, weight, targets = hidden_case((4, 25), C=3, V=101)  # 112: the next multiple of loss.VECTOR
    for function, most in ((loss.loss_from_hidden, 7 * 112), (from_logits, 100 * 101)):
        with LargestTensor() as seen:
            arguments = {"chunk_tokens": 7} if function is loss.loss_from_hidden else {}
            function(hidden, weight, targets, **arguments).backward()
        assert seen.largest == most
    with torch.no_grad():
        value = loss.loss_from_hidden(hidden, weight, targets)
        torch.testing.assert_close(value, from_logits(hidden, weight, targets))
    assert not value.requires_grad


def test_loss_from_hidden_with_nothing_scored():
    hidden, weight, targets = hidden_case()
    nothing = torch.full_like(targets, loss.IGNORED_TARGET)
    assert loss.loss_from_hidden(hidden, weight, nothing).isnan()
    total = loss.loss_from_hidden(hidden, weight, nothing, reduction="sum")
    total.backward()
    assert total == 0 and not hidden.grad.any() and not weight.grad.any()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden": torch.zeros(5, 3)}, r"hidden \(B, T, C\)"),
        ({"head_weight": torch.zeros(11, 2)}, r"\(11, 2\)"),
        ({"targets": torch.zeros(2, 4, dtype=torch.int64)}, r"\(2, 4\)"),
        ({"targets": torch.full((2, 5), 11)}, r"\[0, 11\), got 11"),
        ({"targets": torch.full((2, 5), -1)}, "got -1"),
        ({"reduction": "none"}, "'none'"),
        ({"chunk_tokens": 0}, "chunk_tokens >= 1"),
    ],
)
def test_loss_from_hidden_refuses(changes, says):
    hidden, weight, targets = hidden_case()
    with pytest.raises(ValueError, match=says):
        loss.loss_from_hidden(**{"hidden": hidden, "head_weight": weight, "targets": targets} | changes)
