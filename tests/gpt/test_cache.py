"""The key-value cache: the same hidden states in any pieces, rows of different lengths, its memory, its refusals."""

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, KeyValueCache
from tests.support import refused

CONFIG = GPTConfig(53, 29, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.0, position_offset=2)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).eval()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("n_more", [1, 4])
def test_rows_of_different_lengths_read_in_pieces(model, n_more):
    rows = [torch.arange(n) * 3 % 53 for n in (3, 11, 7)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    cache = model.new_cache(3, 29)
    for piece in padded.split([7, 1, 3], dim=1):
        model.hidden(piece, cache)
    assert cache.lengths == [11, 11, 11]
    cache.cut([3, 11, 7])
    for seed in range(2):
        new = torch.randint(53, (3, n_more), generator=torch.Generator().manual_seed(seed))
        got = model.hidden(new, cache)
        rows = [torch.cat([row, more]) for row, more in zip(rows, new, strict=True)]
        for row, hidden in zip(rows, got, strict=True):
            torch.testing.assert_close(hidden, model.hidden(row[None])[0, -n_more:])
    assert cache.lengths == [len(row) for row in rows]


def test_what_was_cut_away_is_never_seen(model):
    cache = model.new_cache(1, 29)
    model.hidden(torch.tensor([[1, 2, 3, 4, 5]]), cache)
    cache.cut([2])
    cache.keys[..., 2:, :] = torch.nan
    cache.values[..., 2:, :] = torch.nan
    got = model.hidden(torch.tensor([[9]]), cache)
    torch.testing.assert_close(got, model.hidden(torch.tensor([[1, 2, 9]]))[:, -1:])


def test_memory_is_stated_and_taken_once(model):
    cache = model.new_cache(5, 17)
    assert cache.memory_bytes == 2 * 3 * 5 * 7 * 17 * 4 * 4  # keys and values, layers, rows, heads, tokens, D, bytes
    assert cache.memory_bytes == cache.keys.nbytes + cache.values.nbytes
    where = cache.keys.data_ptr()
    model.hidden(torch.zeros(5, 17, dtype=torch.int64), cache)
    assert cache.keys.data_ptr() == where
    assert GPT(CONFIG).bfloat16().new_cache(5, 17).memory_bytes == cache.memory_bytes // 2


def test_refusals(model):
    cache = model.new_cache(1, 5)
    token_ids = torch.tensor([[1, 2, 3]])
    model.hidden(token_ids, cache)
    refused("3 tokens are cached and 3 more do not fit its capacity of 5", model.hidden, token_ids, cache)
    refused(r"30 tokens exceeds the context of 29", model.new_cache, 1, 30)
    refused("n_layers must be a whole number of at least 1", KeyValueCache, 0, 1, 1, 1, 1)
    for lengths in ([4], [-1], [1, 1]):
        refused(r"at most \[3\]", cache.cut, lengths)
    with torch.enable_grad():
        refused("no_grad", model.hidden, token_ids[:, :1], cache)
    refused(r"\[0, 53\)", model.hidden, torch.tensor([[53]]), cache)
    assert cache.lengths == [3], "a refused reading leaves the cache as it was"
