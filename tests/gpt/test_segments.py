"""Attention inside documents: no token sees another document, with and without dropout; and clear refusals."""

from dataclasses import replace

import pytest
import torch

from helpers.gpt import GPT, GPTConfig
from tests.support import lively, refused

CONFIG = GPTConfig(vocab_size=101, context_length=13, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0)
TOKEN_IDS = torch.randint(101, (2, 11), generator=torch.Generator().manual_seed(1))
SEGMENTS = torch.tensor([[0] * 4 + [1] * 5 + [2] * 2, [2] * 7 + [3] * 2 + [-1] * 2])


def model_of(**changes) -> GPT:
    torch.manual_seed(0)
    return lively(GPT(replace(CONFIG, **changes)), by=0.2)


def logits_of(model: GPT, segments: torch.Tensor = SEGMENTS, token_ids: torch.Tensor = TOKEN_IDS) -> torch.Tensor:
    return model.head(model.hidden(token_ids, segments=segments))


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_changing_a_document_changes_no_other(training):
    model = model_of(drop_rate=0.3).train(training)
    for number in SEGMENTS.unique().tolist():
        here = number == SEGMENTS
        torch.manual_seed(5)
        before = logits_of(model)
        torch.manual_seed(5)
        after = logits_of(model, token_ids=torch.where(here, (TOKEN_IDS + 7) % 101, TOKEN_IDS))
        torch.testing.assert_close(after[~here], before[~here], atol=1e-6, rtol=0)
        assert (after[here] - before[here]).abs().amax(-1).min() > 1e-3


@torch.no_grad()
def test_a_document_is_read_as_if_it_stood_alone_where_it_stands():
    model = model_of()
    packed = logits_of(model)
    for row, start, end in ((0, 0, 4), (0, 4, 9), (0, 9, 11), (1, 0, 7), (1, 7, 9)):
        alone = model(TOKEN_IDS[row : row + 1, start:end])[0]
        assert torch.allclose(packed[row, start:end], alone, atol=1e-5) == (start == 0), "positions count along the row"
        moved = model_of(context_length=13 - start, position_offset=start)  # its first position is that one
        moved.load_state_dict(model.state_dict())
        there = moved(TOKEN_IDS[row : row + 1, start:end])[0]
        torch.testing.assert_close(packed[row, start:end], there, atol=1e-5, rtol=0)


def test_refuses():
    model = model_of()
    refused(r"shape of token_ids, \(2, 11\)", logits_of, model, SEGMENTS[:, :10])
    with torch.no_grad(), pytest.raises(ValueError, match="and a cache"):
        model.hidden(TOKEN_IDS, model.new_cache(2, 13), segments=SEGMENTS)
