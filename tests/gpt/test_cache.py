"""The key-value cache: the same hidden states in any pieces, rows of different lengths, its memory, its refusals."""

from __future__ import annotations

import pytest
import torch

from helpers.gpt import GPT, GPTConfig, KeyValueCache

CONFIG = GPTConfig(
    vocab_size=53, context_length=29, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.0, position_offset=2
)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).eval()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("pieces", [[23], [1] * 23, [5, 1, 1, 16], [22, 1], [1, 22], [7, 7, 9]])
def test_pieces_give_the_hidden_states_of_the_whole(model, pieces):
    token_ids = torch.randint(53, (2, 23), generator=torch.Generator().manual_seed(1))
    cache = model.new_cache(2, 23)
    read = [model.hidden(piece, cache) for piece in token_ids.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(read, 1), model.hidden(token_ids))
    assert cache.lengths == [23, 23]


@pytest.mark.parametrize("n_more", [1, 4])
def test_rows_of_different_lengths(model, n_more):
    rows = [torch.arange(n) * 3 % 53 for n in (3, 11, 7)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    cache = model.new_cache(3, 29)
    model.hidden(padded, cache)
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
    model.hidden(torch.tensor([[1, 2, 3]]), cache)
    with pytest.raises(ValueError, match="3 tokens are cached and 3 more do not fit its capacity of 5"):
        model.hidden(torch.tensor([[1, 2, 3]]), cache)
    with pytest.raises(ValueError, match=r"30 tokens exceeds the context of 29"):
        model.new_cache(1, 30)
    with pytest.raises(ValueError, match="n_layers must be a whole number of at least 1"):
        KeyValueCache(0, 1, 1, 1, 1)
    for lengths in ([4], [-1], [1, 1]):
        with pytest.raises(ValueError, match=r"at most \[3\]"):
            cache.cut(lengths)
    with torch.enable_grad(), pytest.raises(ValueError, match="no_grad"):
        model.hidden(torch.tensor([[1]]), cache)
    with pytest.raises(ValueError, match=r"\[0, 53\)"):
        model.hidden(torch.tensor([[53]]), cache)
    assert cache.lengths == [3], "a refused reading leaves the cache as it was"
