"""Calibration and accuracy by hand; the bootstrap against known variances; overlaps against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import GPT, GPTConfig
from helpers.labs import metrics
from tests.support import refusals, refused


def test_calibration_by_hand():
    probs = torch.tensor([[0.9, 0.1, 0.0], [0.92, 0.0, 0.08], [0.2, 0.45, 0.35], [1.0, 0.0, 0.0]])
    result = metrics.calibration(probs, torch.tensor([0, 1, 1, 0]), n_bins=10)
    # groups: 0.45 (right); 0.90, 0.92 and 1.00 share the last one (two of three right)
    torch.testing.assert_close(result.confidence, torch.tensor([0.45, 0.94], dtype=torch.float64))
    torch.testing.assert_close(result.accuracy, torch.tensor([1.0, 2 / 3], dtype=torch.float64))
    assert result.n_tokens.tolist() == [1, 3]
    assert result.error == pytest.approx((0.55 * 1 + (0.94 - 2 / 3) * 3) / 4)
    probs = torch.tensor([[0.41, 0.30, 0.29], [0.47, 0.33, 0.20], [0.53, 0.27, 0.20]])  # bins begin at their lower end
    assert metrics.calibration(probs, torch.tensor([0, 0, 0]), n_bins=10).n_tokens.tolist() == [2, 1]
    assert metrics.accuracy(torch.tensor([[[0.0, 1.0], [3.0, 2.0]]]), torch.tensor([[1, 1]])) == 0.5


def test_an_honest_predictor_is_calibrated():
    generator = torch.Generator().manual_seed(0)
    probs = torch.softmax(torch.randn(20_000, 5, generator=generator), -1)
    targets = torch.multinomial(probs, 1, generator=generator)[:, 0]
    assert metrics.calibration(probs, targets).error < 0.02
    assert metrics.calibration(probs**4 / (probs**4).sum(-1, keepdim=True), targets).error > 0.1


THIRD, FIRST, VALUES = torch.full((1, 3), 1 / 3), torch.tensor([0]), torch.arange(5)
test_refuses = refusals(
    (metrics.calibration, torch.ones(2, 3), FIRST, "probs"),
    (metrics.calibration, torch.tensor([[2.0, -1.0, 0.0]]), FIRST, "softmax first"),
    (metrics.calibration, torch.ones(1, 3), FIRST, "sum to 3 to 3: take the softmax first"),
    (metrics.calibration, THIRD, FIRST - 1, r"\[0, 3\)"),
    (metrics.calibration, THIRD, FIRST + 3, r"\[0, 3\)"),
    (metrics.calibration, THIRD, FIRST, 2.5, "n_bins must be a whole number"),
    (metrics.calibration, THIRD, FIRST, 10**9, "n_bins must be at most 100,000, got 1,000,000,000"),
    (metrics.calibration, THIRD * 1j, FIRST, "probs in floating point, got torch.complex64"),
    *((metrics.accuracy, THIRD.to(x), FIRST, f"logits in floating point, got {x}") for x in (torch.bool, torch.cfloat)),
    (metrics.accuracy, torch.ones(2, 3), FIRST, "targets"),
    (metrics.accuracy, torch.ones(0, 3), FIRST[:0], "targets"),
    (metrics.accuracy, torch.full((1, 3), torch.nan), FIRST, "NaN"),
    (metrics.accuracy, torch.ones(1, 3), FIRST - 100, r"targets must be in \[0, 3\), got -100"),
    *((metrics.block_bootstrap, VALUES, block, "block <= N|at least 1, got 0") for block in (0, 6)),
    (metrics.block_bootstrap, VALUES[None], 1, "block <= N"),
    (metrics.block_bootstrap, VALUES[:0], 1, "block <= N"),
    (metrics.block_bootstrap, VALUES * 1j, 1, "expected real values"),
    (metrics.block_bootstrap, VALUES, 1, 0, "at least 1, got 0"),
    (metrics.block_bootstrap, VALUES, 1, 10**8, "n_resamples must be at most 100,000, got 100,000,000"),
    *((metrics.block_bootstrap, VALUES, 1, 9, seed, "seed must be a whole number") for seed in (-1, 1.5, "a")),
    (metrics.block_bootstrap, VALUES, 1, 9, 10**20, "seed must be at most 2.63 - 1"),
    (metrics.distinct_n, [range(10**6)], 10**5, "n must be at most 1,000, got 100,000"),
    *((metrics.longest_overlap, [wrong], [1], "1,114,112") for wrong in (-1, 1_114_112, 2**70)),
    (metrics.distinct_n, [[1]], 0, "at least 1"),
    (metrics.distinct_n, [[1], []], 2, "no text has 2 tokens"),
    (metrics.distinct_n, [], 1, "no text"),
    (metrics.repetition, [], 3, "n_tokens must be a whole number of at least 1, got 0"),
    (metrics.repetition, [1], 0, "window must be a whole number of at least 1, got 0"),
)


def width(values: torch.Tensor, block: int) -> float:
    interval = metrics.block_bootstrap(values, block)
    return interval.high - interval.low


@pytest.mark.parametrize("block", [1, 7, 50, 600])  # 600 leaves a second block of 400
def test_the_interval_of_independent_values_is_the_textbook_one(block):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 3 + 10
    interval = metrics.block_bootstrap(values, block)
    assert interval.mean == pytest.approx(values.mean().item(), rel=1e-6)
    textbook = 2 * 1.96 * values.std().item() / 1000**0.5
    if block <= 50:
        assert interval.high - interval.low == pytest.approx(textbook, rel=0.25 if block == 50 else 0.1)
        assert interval.low < interval.mean < interval.high
    else:
        assert 0 < interval.high - interval.low < 1.5 * textbook


def test_neighbours_that_are_alike_widen_the_interval():
    """Each value twenty times: a mean over 60 numbers, not over 1,200."""
    values = torch.randn(60, generator=torch.Generator().manual_seed(2)).repeat_interleave(20)
    honest = 2 * 1.96 * values.std().item() / 60**0.5
    assert width(values, 1) == pytest.approx(honest / 20**0.5, rel=0.1)
    assert width(values, 60) == pytest.approx(honest, rel=0.25)


def test_bootstrap_edges():
    assert metrics.block_bootstrap(VALUES, 5) == (2.0, 2.0, 2.0)  # integers are welcome
    assert metrics.block_bootstrap(torch.tensor([3.0]), 1) == (3.0, 3.0, 3.0)
    # blocks of 3 from 0, 0, 0, 4, cut to the series' length: first a sum of 0 or 4, then a value from place 0 or 1
    assert metrics.block_bootstrap(torch.tensor([0.0, 0, 0, 4]), 3, n_resamples=4000) == (1.0, 0.0, 1.0)
    before, drawn = torch.get_rng_state(), metrics.block_bootstrap(VALUES, 2)
    assert drawn == metrics.block_bootstrap(VALUES, 2) != metrics.block_bootstrap(VALUES, 2, 50, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=14))
def test_overlap_against_brute_force(text, source):
    runs = [
        (n, -i, -j)
        for i in range(len(text))
        for j in range(len(source))
        for n in range(1, min(len(text) - i, len(source) - j) + 1)
        if text[i : i + n] == source[j : j + n]
    ]
    n, i, j = max(runs, default=(0, 0, 0))
    assert metrics.longest_overlap(text, source) == (n, -i, -j)
    assert metrics.longest_overlap(torch.tensor(text), np.array(source)) == (n, -i, -j)


def test_overlap_of_large_ids_in_a_long_text():
    source = torch.randint(40_000, 60_000, (200_000,), generator=torch.Generator().manual_seed(0))  # surrogates too
    assert metrics.longest_overlap(source[123_456:123_956], source) == (500, 0, 123_456)
    assert metrics.longest_overlap([5, 6, 0, 7, 8], [7, 8, 1, 5, 6, 2, 5, 6]) == (2, 0, 3)  # the first of equals


def test_repetition_and_distinct_n_by_hand():
    assert metrics.repetition([1, 2, 3]) == 0
    assert metrics.repetition([1, 1, 1, 1]) == 3 / 4
    assert metrics.repetition([1, 2, 3, 1], window=2) == 0 and metrics.repetition([1, 2, 3, 1], window=3) == 1 / 4
    assert metrics.repetition(torch.tensor([5, 5])) == 1 / 2
    assert metrics.repetition(range(200_000), window=10**9) == 0, "in no more than a pass"
    texts = [[1, 2, 1, 2], [2, 1]]
    assert metrics.distinct_n(texts, 1) == 2 / 6
    assert metrics.distinct_n(texts, 2) == 2 / 4  # 12, 21, 12 and 21: no run goes from one text into the next
    assert metrics.distinct_n(texts, 3) == 1.0
    assert metrics.distinct_n([torch.tensor([3, 3, 3])], 1) == 1 / 3


@pytest.mark.parametrize(("n_tokens", "n_prompt"), [(2, 1), (7, 3), (8, 1), (8, 7)])
def test_mean_log_likelihood_token_by_token(n_tokens, n_prompt):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=13, context_length=7, emb_dim=12, n_heads=2, n_layers=1, drop_rate=0.4))
    ids = torch.randint(13, (n_tokens,))
    got = metrics.mean_log_likelihood(model, ids, n_prompt)
    assert model.training
    model.eval()
    log_probs = [model(ids[None, :i])[0, -1].log_softmax(-1)[ids[i]].item() for i in range(n_prompt, n_tokens)]
    assert got == pytest.approx(sum(log_probs) / len(log_probs), rel=1e-5)
    for bad, n in ((ids[None], 1), (ids, n_tokens), (ids, 0)):
        refused(r"n_prompt (in|must be)", metrics.mean_log_likelihood, model, bad, n)
    refused("do not fit the context of 7", metrics.mean_log_likelihood, model, torch.zeros(9, dtype=torch.int64))
