"""Attention inside documents: no token sees another document, with and without dropout; and clear refusals."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, dropout, positions_in
from helpers.gpt.dropout import causal_attention

CONFIG = GPTConfig(vocab_size=101, context_length=13, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0)
TOKEN_IDS = torch.randint(101, (2, 11), generator=torch.Generator().manual_seed(1))
SEGMENTS = torch.tensor([[0] * 4 + [1] * 5 + [2] * 2, [2] * 7 + [3] * 2 + [-1] * 2])


def model_of(**changes) -> GPT:
    torch.manual_seed(0)
    model = GPT(CONFIG if not changes else GPTConfig(**{**vars(CONFIG), **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_changing_a_document_changes_no_other(training):
    model = model_of(drop_rate=0.3).train(training)
    for number in SEGMENTS.unique().tolist():
        here = number == SEGMENTS
        torch.manual_seed(5)
        before = model(TOKEN_IDS, SEGMENTS)
        torch.manual_seed(5)
        after = model(torch.where(here, (TOKEN_IDS + 7) % 101, TOKEN_IDS), SEGMENTS)
        torch.testing.assert_close(after[~here], before[~here], atol=1e-6, rtol=0)
        assert (after[here] - before[here]).abs().amax(-1).min() > 1e-3


@torch.no_grad()
def test_a_document_is_read_as_if_it_stood_alone():
    model = model_of()
    unchanged, restarted = model(TOKEN_IDS, SEGMENTS), model(TOKEN_IDS, SEGMENTS, restart_positions=True)
    for row, start, end in ((0, 0, 4), (0, 4, 9), (0, 9, 11), (1, 0, 7), (1, 7, 9)):
        alone = model(TOKEN_IDS[row : row + 1, start:end])[0]
        torch.testing.assert_close(restarted[row, start:end], alone, atol=1e-5, rtol=0)
        assert torch.allclose(unchanged[row, start:end], alone, atol=1e-5) == (start == 0)
    hidden = model.hidden(TOKEN_IDS, segments=SEGMENTS, restart_positions=True)
    torch.testing.assert_close(model.head(hidden), restarted)


@torch.no_grad()
def test_one_document_a_row_is_no_segments_at_all():
    model = model_of()
    one = torch.full_like(TOKEN_IDS, 7)
    torch.testing.assert_close(model(TOKEN_IDS, one), model(TOKEN_IDS), atol=1e-6, rtol=0)
    torch.testing.assert_close(model(TOKEN_IDS, one, restart_positions=True), model(TOKEN_IDS), atol=1e-6, rtol=0)


def test_positions_by_hand():
    segments = torch.tensor([[4, 4, 4, 2, 2, -1], [1, 2, 2, 1, 1, 1]])
    assert positions_in(segments).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 0, 1, 2]]


@pytest.mark.parametrize("drop_rate", [0.0, 0.3])
def test_attention_and_its_gradients_are_the_textbook_s(drop_rate):
    B, H, T, D = 2, 3, 71, 5  # a whole block of queries and a rest
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(B, H, T, D, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]
    segments = torch.randint(4, (B, T), generator=generator).sort(dim=1).values
    same = (segments[:, :, None] == segments[:, None])[:, None]
    keep = torch.ones(B * H, T, T, dtype=torch.float64)
    if drop_rate:
        torch.manual_seed(3)
        for start in range(0, T, dropout.QUERY_ROWS):
            end = min(start + dropout.QUERY_ROWS, T)
            keep[:, start:end, :end] = dropout.keep_mask((B * H, end - start, end), drop_rate)
        keep = keep / (1 - dropout.effective_rate(drop_rate))
    q, k, v = inputs
    scores = q @ k.transpose(2, 3) / math.sqrt(D)
    allowed = same & torch.ones(T, T, dtype=torch.bool).tril()
    expected = (torch.softmax(scores.masked_fill(~allowed, -math.inf), -1) * keep.view(B, H, T, T)) @ v
    torch.manual_seed(3)
    found = causal_attention(*inputs, drop_rate, same)
    direction = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view(found.shape)
    gradients = [torch.autograd.grad(value, inputs, direction) for value in (found, expected)]
    for ours, theirs in zip([found, *gradients[0]], [expected, *gradients[1]], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_refuses():
    model = model_of()
    with pytest.raises(ValueError, match=r"shape of token_ids, \(2, 11\)"):
        model(TOKEN_IDS, SEGMENTS[:, :10])
    with torch.no_grad(), pytest.raises(ValueError, match="and a cache"):
        model.hidden(TOKEN_IDS, model.new_cache(2, 13), segments=SEGMENTS)
    with pytest.raises(ValueError, match="restart_positions needs segments"):
        model(TOKEN_IDS, restart_positions=True)
    q = torch.zeros(2, 3, 5, 7)
    for mask in (torch.ones(2, 1, 5, 4, dtype=torch.bool), torch.ones(2, 1, 5, 5)):
        with pytest.raises(ValueError, match=r"same_segment \(2, 1, 5, 5\) of torch.bool, got"):
            causal_attention(q, q, q, 0.0, mask)
