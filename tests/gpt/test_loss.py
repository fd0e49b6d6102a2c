"""The six steps against hand-computed values and torch; perplexity; a mean that counts every token once."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import IGNORED_TARGET, evaluating, loss
from tests.support import refusals, refused


def test_six_steps_by_hand():
    """Odds 1 : 2 : 5 and 4 : 4 : 2, so that every probability is a plain fraction."""
    logits = torch.tensor([[[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]]]).log()
    steps = loss.six_steps(logits, torch.tensor([[2, 0]]))
    torch.testing.assert_close(steps.probs, torch.tensor([[[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]]]))
    torch.testing.assert_close(steps.target_probs, torch.tensor([[0.625, 0.4]]))
    torch.testing.assert_close(steps.log_probs, torch.tensor([[math.log(0.625), math.log(0.4)]]))
    assert steps.mean_log_prob.item() == pytest.approx(math.log(0.25) / 2)  # 0.625 * 0.4 = 0.25
    assert steps.loss_nats.item() == pytest.approx(math.log(2))
    large, target = torch.tensor([[[0.0, 1000.0]]]), torch.tensor([[0]])
    assert loss.six_steps(large, target).loss_nats.isinf()  # ln 0: why the fast path exists
    assert loss.next_token_loss(large, target).item() == 1000


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


def test_masked_targets_are_not_scored():
    logits, masked = torch.randn(1, 3, 5), torch.tensor([[4, IGNORED_TARGET, 2]])
    losses = loss.token_losses(logits, masked)
    assert losses[0, 1] == 0
    assert loss.next_token_loss(logits, masked).item() == pytest.approx((losses[0, 0] + losses[0, 2]).item() / 2)
    for dtype in (torch.int32, torch.int16):
        assert torch.equal(loss.token_losses(logits, masked.to(dtype)), losses)
    refused("no target", loss.next_token_loss, logits, torch.full((1, 3), IGNORED_TARGET))
    refused("targets must be", loss.six_steps, logits, masked)
    refused("in floating point, got torch.int64: take", loss.six_steps, logits.long(), masked.clamp(min=0))


@pytest.mark.parametrize("function", [loss.six_steps, loss.token_losses, loss.next_token_loss])
@pytest.mark.parametrize(
    ("logits_shape", "targets", "says"),
    [
        ((3, 5), torch.zeros(3, dtype=torch.int64), r"x\[None\]"),
        ((1, 3, 5), torch.zeros(1, 2, dtype=torch.int64), r"\(1, 3, 5\) and \(1, 2\)"),
        ((1, 0, 5), torch.zeros(1, 0, dtype=torch.int64), r"\(1, 0\)"),
        ((1, 2, 5), torch.tensor([[0, 5]]), r"\[0, 5\)"),
        ((1, 2, 5), torch.tensor([[0, -1]]), "-1"),
        ((1, 2, 5), torch.tensor([[0.0, 1.0]]), "targets must be whole numbers, got torch.float32"),
    ],
)
def test_refuses(function, logits_shape, targets, says):
    refused(says, function, torch.zeros(logits_shape), targets)


def test_entropy_perplexity_and_bits_per_byte_by_hand():
    for n in (1, 2, 6, 50257):
        assert loss.entropy(torch.zeros(n)).item() == pytest.approx(math.log(n), abs=1e-3)
    assert loss.entropy(torch.tensor([0.0, -math.inf])).item() == 0
    assert loss.entropy(torch.tensor([0.5, 0.25, 0.25]).log()).item() == pytest.approx(1.5 * math.log(2))
    assert loss.entropy(torch.tensor([math.nan, 0.0])).isnan()
    assert loss.perplexity(0.0) == 1 and loss.perplexity(1000.0) == math.inf
    assert loss.perplexity(torch.tensor(math.log(6))) == pytest.approx(6, rel=1e-6)
    for n_tokens, n_bytes in ((3, 12), (5, 20)):
        assert loss.bits_per_byte(math.log(2) * 8, n_tokens, n_bytes) == pytest.approx(2.0)


test_numbers_that_are_none_are_refused = refusals(
    (loss.perplexity, -0.1, "at least 0"),
    (loss.perplexity, math.nan, "at least 0"),
    (loss.perplexity, torch.ones(2), "take its mean"),
    (loss.bits_per_byte, 1.0, 3, 0, "one byte"),
    (loss.bits_per_byte, 1.0, 0, 3, "one byte"),
    (loss.bits_per_byte, 1e9, 10**300, 1, "bits per byte must be a finite number"),
)


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
    masked = [(torch.cat([ids[:, :13]] * 2), torch.cat([ids[:, 1:], torch.full((1, 13), IGNORED_TARGET)]))]
    whole = F.cross_entropy(model.table[ids[0, :-1]], ids[0, 1:]).item()
    mean_of_means = sum(F.cross_entropy(model.table[x[0]], y[0]).item() for x, y in ragged) / 2
    assert mean_of_means != pytest.approx(whole, rel=1e-3)
    for batches in (ragged, masked):
        report = loss.token_weighted_loss(model, batches)
        assert (report.n_tokens, report.loss_nats) == (13, pytest.approx(whole, rel=1e-6))
        assert report.perplexity == pytest.approx(math.exp(whole), rel=1e-6)
    refused("no token", loss.token_weighted_loss, model, [])
    refused("targets", loss.token_weighted_loss, model, [(ids[:, :2], torch.tensor([[0, 7]]))])
    assert model.training, "the mode must be put back"


def test_evaluating_restores_each_part():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5))
    model[1].eval()  # frozen on purpose
    with evaluating(model):
        assert not model.training and not model[0].training
    assert model.training and model[0].training and not model[1].training
    with evaluating(lambda ids: ids):
        pass
