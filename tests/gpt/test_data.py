"""Ids on disk, the split by text, windows and batches: every id counted by brute force."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.gpt import IGNORED_TARGET, Batches, Windows, cut, join, scoring_batches, split_by_text
from tests.support import refusals, refused

SIZES = st.tuples(st.integers(2, 60), st.integers(1, 13), st.integers(1, 17))  # N, T, stride


def brute_force_windows(N: int, T: int, stride: int, offset: int = 0) -> list[int]:
    """Where each window starts: every stride-th place at which T inputs and the id after them exist."""
    return [start for start in range(offset, N, stride) if start + T < N]


@pytest.mark.parametrize("kind", [torch.tensor, lambda ids: np.array(ids, dtype=np.uint16)])
@given(SIZES, st.integers(0, 20))
def test_windows_and_targets_counted_by_brute_force(kind, sizes, offset):
    N, T, stride = sizes
    starts = brute_force_windows(N, T, stride, offset)
    ids = kind(list(range(N)))  # each id is its own place
    if not starts:
        refused(f"needs {T + 1} ids, got {max(N - offset, 0)}", Windows, ids, T, stride, offset)
        return
    windows = Windows(ids, T, stride, offset)
    assert windows.inputs[:, 0].tolist() == starts and len(windows) == len(starts)
    counts = Counter(windows.targets.flatten().tolist())
    assert counts == Counter(place for start in starts for place in range(start + 1, start + T + 1))
    assert windows.n_targets == len(counts)
    if stride == T and offset == 0:
        assert set(counts.values()) == {1} and N - 1 - len(counts) < T  # all but the first and a tail, once


def test_windows_are_views_and_rows_are_not():
    ids = torch.arange(20)
    windows = Windows(ids, 5, 2)
    assert windows.inputs.data_ptr() == ids.data_ptr()
    assert windows.targets.data_ptr() == ids.data_ptr() + ids.element_size()
    inputs, targets = windows.rows([3, 0])
    ids.fill_(7)
    assert windows.inputs.unique().tolist() == [7]
    assert (inputs.tolist(), targets[1].tolist()) == ([[6, 7, 8, 9, 10], [0, 1, 2, 3, 4]], [1, 2, 3, 4, 5])
    array = np.arange(20)
    assert np.shares_memory(Windows(array, 5).targets, array)
    assert not np.shares_memory(Windows(array, 5).rows([0])[0].numpy(), array)
    batches = Batches(torch.arange(40), 4, 2, shuffle=False)
    token_ids, targets = batches[0]
    targets[:] = IGNORED_TARGET  # masking a target leaves the inputs alone
    assert token_ids.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    refused("from 0", lambda: batches[-1], error=IndexError)


def test_a_memory_mapped_file_gives_what_a_tensor_gives(tmp_path):
    ids = torch.randint(50257, (101,), generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "ids.npy", ids.numpy().astype(np.uint16))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for i in range(9):
        for a, b in zip(Batches(mapped, 7, 3, shift=True)[i], Batches(ids, 7, 3, shift=True)[i], strict=True):
            assert a.dtype == torch.int64 and torch.equal(a, b)
    for one, other in zip(scoring_batches(mapped, 7, 3), scoring_batches(ids, 7, 3), strict=True):
        assert torch.equal(one.token_ids, other.token_ids) and torch.equal(one.targets, other.targets)


@given(SIZES, st.integers(1, 5), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_an_epoch_covers_its_windows_once_and_any_batch_is_at_hand(sizes, B, shuffle, drop_last, shift, seed):
    N, T, stride = sizes
    ids = torch.arange(N)
    n_windows = len(brute_force_windows(N, T, stride, stride - 1 if shift else 0))
    n_batches = n_windows // B if drop_last else -(-n_windows // B)
    arguments = dict(stride=stride, seed=seed, shuffle=shuffle, drop_last=drop_last, shift=shift)
    if not n_batches:
        refused("do not fill a batch" if n_windows else "shorter context", Batches, ids, T, B, **arguments)
        return
    batches = Batches(ids, T, B, **arguments)
    assert (len(batches), batches.n_windows) == (n_batches, n_windows)
    for epoch in (0, 2):
        got = [batches[epoch * n_batches + i] for i in range(n_batches)]
        starts = torch.cat([batch.token_ids[:, 0] for batch in got])
        assert len(starts) == (n_batches * B if drop_last else n_windows) and len(starts.unique()) == len(starts)
        offset = int(starts.min()) % stride
        assert set(starts.tolist()) <= set(brute_force_windows(N, T, stride, offset)) and (shift or offset == 0)
        assert all(torch.equal(batch.targets, batch.token_ids + 1) for batch in got)
        if not shuffle:
            assert starts.tolist() == sorted(starts.tolist())
    again, before = Batches(ids, T, B, **arguments), torch.get_rng_state()
    assert [b.token_ids.tolist() for b in batches] == [again[i].token_ids.tolist() for i in range(n_batches)]
    assert torch.equal(before, torch.get_rng_state())
    for i in (2 * n_batches, 0, n_batches):  # in any order, from a fresh object
        assert torch.equal(again[i].token_ids, batches[i].token_ids)


def test_epochs_and_seeds_differ_in_order_and_where_windows_begin():
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(torch.arange(200), 3, 66, seed=seed)
        return batches[epoch].token_ids[:, 0].tolist()

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(o) for o in orders}) == 9  # also seed 1's first is not seed 0's second
    assert len({frozenset(o) for o in orders}) == 1
    assert order(0, 0) != sorted(order(0, 0))
    for shift, begins in ((True, set(range(7))), (False, {0})):
        batches = Batches(torch.arange(100), 7, 4, shift=shift, shuffle=False)
        assert {int(batches[epoch * len(batches)].token_ids[0, 0]) for epoch in range(30)} == begins


@given(st.integers(2, 40), st.integers(1, 11), st.integers(1, 5), st.data())
def test_scoring_batches_score_every_id_once_with_the_context_they_promise(N, T, B, data):
    stride = data.draw(st.none() | st.integers(1, T))
    ids = torch.arange(100, 100 + N)
    seen = Counter()
    for token_ids, targets in scoring_batches(ids, T, B, stride):
        assert token_ids.shape == targets.shape == (len(token_ids), T) and len(token_ids) <= B
        for row, (inputs, wanted) in enumerate(zip(token_ids.tolist(), targets.tolist(), strict=True)):
            for place in range(T):
                if wanted[place] == IGNORED_TARGET:
                    continue
                known = place + 1  # ids that this prediction sees
                assert inputs[:known] == list(range(wanted[place] - known, wanted[place])), row
                assert known >= min(T - (stride or T) + 1, wanted[place] - 100)
                seen[wanted[place]] += 1
    assert seen == Counter(range(101, 100 + N))


def test_scoring_batches_by_hand():
    (batch,) = scoring_batches(torch.arange(6), 3, stride=2)
    assert batch.token_ids.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert batch.targets.tolist() == [[1, 2, 3], [IGNORED_TARGET, 4, 5]]
    one, two = scoring_batches(torch.arange(6), 3, batch_size=1)
    assert one.token_ids.tolist() == [[0, 1, 2]] and one.targets.tolist() == [[1, 2, 3]]
    assert two.token_ids.tolist() == [[3, 4, 0]] and two.targets.tolist() == [[4, 5, IGNORED_TARGET]]  # padded


def test_split_cut_and_join_by_hand():
    documents = ["a" * 10, "b" * 10, "a" * 10, "c" * 80]
    for seed in range(9):
        training, validation = split_by_text(documents, 0.05, seed)
        assert validation == ["b" * 10] and training == ["a" * 10, "a" * 10, "c" * 80]  # the drawn order is no excuse
    assert split_by_text(["a" * 60, "b" * 50], 0.01) == (["a" * 60], ["b" * 50])  # the smallest, where none fits
    ids = torch.arange(10)
    training, validation = cut(ids, 0.3)
    assert (training.tolist(), validation.tolist()) == (list(range(7)), [7, 8, 9])
    assert validation.data_ptr() == ids[7:].data_ptr(), "a view"
    assert join([[1, 2], [], (3,)], 9).tolist() == [1, 2, 9, 9, 3, 9] and join([[]], 9).dtype == torch.int64


@given(st.lists(st.text("ab", max_size=6), max_size=30), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 9))
@settings(max_examples=200)
def test_split_by_text_properties(documents, share, seed):
    if len(set(documents)) < 2:
        refused("two different", split_by_text, documents, share, seed)
        return
    training, validation = split_by_text(documents, share, seed)
    assert training and validation and not set(training) & set(validation)
    assert Counter(training + validation) == Counter(documents)
    assert training == [d for d in documents if d in training]  # in their order
    assert (training, validation) == split_by_text(documents, share, seed)
    mixed = random.Random(1).sample(documents, len(documents))
    assert set(split_by_text(mixed, share, seed)[1]) == set(validation)


IDS = torch.arange(9)


test_refuses = refusals(
    (lambda: Windows(IDS, 3, stride=0), "stride must be .* at least 1"),
    (lambda: Windows(IDS, 3, offset=-1), "offset must be .* at least 0"),
    (lambda: Windows(IDS[None], 3), "one list"),
    (lambda: Windows(torch.ones(9, dtype=torch.bool), 3), "bool"),
    (lambda: Windows(np.ones(9), 3), "float64"),
    (lambda: Batches(IDS, 3, 0), "batch_size"),
    (lambda: Batches(IDS, 3, 3), "2 windows of 3 ids do not fill a batch of 3"),
    (lambda: Batches(IDS, 3, 1, seed=-1), "seed"),
    (lambda: next(scoring_batches(torch.arange(1), 3)), "at least 2 ids"),
    (lambda: next(scoring_batches(torch.tensor(3), 3)), "one list"),
    (lambda: next(scoring_batches(IDS, 3, stride=4)), "at most context_length, got 4 and 3"),
    (lambda: next(scoring_batches(IDS, 3, batch_size=0)), "batch_size"),
    (lambda: next(scoring_batches(IDS, 2**40)), "context_length must be at most 1,048,576, got 1,099,511,627,776"),
    *((lambda share=share: cut(IDS, share), r"in \(0, 1\)") for share in (0, 1, -0.1, float("nan"))),
    *((lambda share=share: split_by_text(["a", "b"], share), r"in \(0, 1\)") for share in (0, 1, float("nan"))),
    *((lambda ids=ids: cut(ids), "two parts") for ids in (IDS[:3], IDS[None], torch.tensor(1), IDS[:0])),
    (lambda: join([], 0), "at least one document"),
    (lambda: join([[1.5]], 0), "one list"),
)
