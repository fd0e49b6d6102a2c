"""Documents in rows: by hand, against brute force, and through training and evaluation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import (
    GPT,
    IGNORED_TARGET,
    GPTConfig,
    TrainConfig,
    Trainer,
    evaluate,
    token_losses,
)
from helpers.labs import rows_of
from tests.support import lively, refusals_of, refused

END, PAD, NONE = 0, 9, IGNORED_TARGET
DOCUMENTS = [[1, 2, 3, 4], [5], [6, 7]]  # with their ends: 1 2 3 4 0 5 0 6 7 0
TEXTS = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=17), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("how", "T", "token_ids", "targets", "segments", "n_dropped"),
    [
        ("truncate", 3, [[1, 2, 3], [5, PAD, PAD], [6, 7, PAD]], [[2, 3, 4], [END, NONE, NONE], [7, END, NONE]],
         [[0, 0, 0], [1, -1, -1], [2, 2, -1]], 1),
        ("pad", 3, [[1, 2, 3], [4, PAD, PAD], [5, PAD, PAD], [6, 7, PAD]],
         [[2, 3, 4], [END, NONE, NONE], [END, NONE, NONE], [7, END, NONE]],
         [[0, 0, 0], [0, -1, -1], [1, -1, -1], [2, 2, -1]], 0),
        ("pack", 4, [[1, 2, 3, 4], [END, 5, END, 6]], [[2, 3, 4, END], [5, END, 6, 7]],
         [[0, 0, 0, 0], [0, 1, 1, 2]], 1),
    ],
)  # fmt: skip
def test_by_hand(how, T, token_ids, targets, segments, n_dropped):
    rows = rows_of(DOCUMENTS, T, how, end_id=END, pad_id=PAD)
    found = rows.token_ids.tolist(), rows.targets.tolist(), rows.segments.tolist(), rows.n_dropped
    assert found == (token_ids, targets, segments, n_dropped)
    n_targets = sum(target != NONE for row in targets for target in row)
    assert (rows.n_targets, rows.non_padding_fraction) == (n_targets, n_targets / (len(rows) * T))
    rows.targets[0, 0] = NONE  # masking a target leaves the tokens alone
    assert rows.token_ids.tolist() == token_ids


def unique(texts: list[list[int]]) -> list[list[int]]:
    """Documents of the same lengths in which every id is another one."""
    numbers = iter(range(1, 10**6))
    return [[next(numbers) for _ in text] for text in texts]


@given(TEXTS, st.integers(1, 12))
def test_packing_keeps_every_token_exactly_once(texts, T):
    texts = unique(texts)
    stream = [i for text in texts for i in (*text, END)]
    owner = [number for number, text in enumerate(texts) for _ in range(len(text) + 1)]
    if len(stream) < T + 1:
        refused(f"needs {T + 1} ids, the documents have {len(stream)}", rows_of, texts, T, "pack", end_id=END)
        return
    rows = rows_of(texts, T, "pack", end_id=END)
    used = len(rows) * T
    assert rows.token_ids.flatten().tolist() == stream[:used]
    assert rows.targets.flatten().tolist() == stream[1 : used + 1]
    assert rows.segments.flatten().tolist() == owner[:used]
    assert used + 1 + rows.n_dropped == len(stream) and rows.n_dropped < T
    assert rows.n_targets == rows.targets.numel()


@given(TEXTS, st.integers(1, 12), st.sampled_from(["pad", "truncate"]))
def test_padded_and_truncated_against_brute_force(texts, T, how):
    texts = unique(texts)
    rows = rows_of(texts, T, how, end_id=END, pad_id=10**6)
    expected = set()  # (document, place of the token in it, token, target)
    for number, text in enumerate(texts):
        ids = [*text, END] if how == "pad" else [*text, END][: T + 1]
        expected |= {(number, place, ids[place], ids[place + 1]) for place in range(len(ids) - 1)}
    place_of = {i: place for text in texts for place, i in enumerate(text)}
    found = []
    for row in zip(rows.token_ids.tolist(), rows.targets.tolist(), rows.segments.tolist(), strict=True):
        for token, target, segment in zip(*row, strict=True):
            assert (target == NONE) == (segment == -1) == (token == 10**6)
            if segment >= 0:
                found.append((segment, place_of[token], token, target))
    assert sorted(found) == sorted(expected), "each target once, with its own token and document"
    dropped = sum(max(len(text) - T, 0) for text in texts) if how == "truncate" else 0
    assert rows.n_dropped == dropped and rows.n_targets == len(found)
    if how == "truncate":
        assert len(rows) == len(texts)


@pytest.mark.parametrize("how", ["pad", "truncate", "pack"])
def test_lists_arrays_and_tensors_give_the_same(how):
    rows = rows_of(DOCUMENTS, 3, how, end_id=END)
    for kind in (torch.tensor, lambda ids: np.array(ids, dtype=np.uint16)):
        other = rows_of([kind(document) for document in DOCUMENTS], np.int32(3), how, end_id=np.uint64(END))
        for name in ("token_ids", "targets", "segments"):
            assert torch.equal(getattr(rows, name), getattr(other, name)) and getattr(other, name).dtype == torch.int64


test_rows_of_refuses = refusals_of(
    lambda documents, T, how, ids: rows_of(documents, T, how, **{"end_id": END, **ids}),
    (DOCUMENTS, 3, "join", {}, "pad, truncate, pack, got 'join'"),
    (DOCUMENTS, 0, "pad", {}, "context_length must be"),
    (DOCUMENTS, 10**10, "pad", {}, "context_length must be at most 1,048,576, got 10,000,000,000"),
    (DOCUMENTS, 3, "pad", {"end_id": -1}, "end_id must be"),
    (DOCUMENTS, 3, "pad", {"pad_id": -1}, "pad_id must be"),
    ([], 3, "pad", {}, "got none"),
    ([[1], []], 3, "pad", {}, "document 1: expected a list of at least one id"),
    ([[[1]]], 3, "pad", {}, r"got shape \(1, 1\)"),
    ([[1.5]], 3, "pack", {}, "document 0: ids must be integers"),
    ([[3, -2]], 3, "pack", {}, "got -2"),
    ([["b", "a"]], 3, "pack", {}, "got 'b' of <U1"),
    ([[None, 1]], 3, "pack", {}, "document 0: ids must be integers, got None of object"),
    ([torch.ones(2, requires_grad=True)], 3, "pack", {}, "ids must be integers, got 1.0 of float64"),
    ([[2**63]], 3, "pad", {}, r"document 0: ids must be in \[0, 2\^63\), got 9223372036854775808 to"),
    ([[1, 2]], 3, "pack", {}, "needs 4 ids, the documents have 3"),
)


def test_batches_hold_every_row_once():
    rows = rows_of([[i, i + 1] for i in range(1, 30)], 2, "pad", end_id=END)
    batches = rows.batches(4)
    assert [len(batch.token_ids) for batch in batches] == [4] * 7 + [1]
    assert torch.equal(torch.cat([batch.targets for batch in batches]), rows.targets)
    before = torch.get_rng_state()
    token_ids, targets = (torch.cat(parts) for parts in zip(*rows.batches(4, seed=3), strict=True))
    order = (token_ids[:, 0] - 1).tolist()  # row n begins with n + 1
    assert sorted(order) == list(range(29)) != order
    assert torch.equal(token_ids, rows.token_ids[order]) and torch.equal(targets, rows.targets[order])
    assert torch.equal(token_ids, torch.cat([batch.token_ids for batch in rows.batches(4, seed=3)]))
    assert torch.equal(before, torch.get_rng_state())
    refused("batch_size", rows.batches, 0)
    refused("seed must be a whole number", rows.batches, 4, seed="a")


def model_and_texts(tied_head: bool = True) -> tuple[GPT, list[list[int]]]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 53, "context_length": 17, "emb_dim": 14, "n_heads": 2, "n_layers": 2}
    model = lively(GPT(GPTConfig(**sizes, tied_head=tied_head, drop_rate=0.0)), by=0.2)
    generator = torch.Generator().manual_seed(1)
    return model, [torch.randint(1, 53, (n,), generator=generator).tolist() for n in (5, 3, 9, 4, 7, 6)]


@pytest.mark.parametrize("tied_head", [True, False])
def test_evaluation_and_training_take_segments(tied_head):
    model, texts = model_and_texts(tied_head)
    rows = rows_of(texts, 11, "pack", end_id=END)
    with torch.no_grad():
        apart = model.head(model.hidden(rows.token_ids, segments=rows.segments))
        expected = token_losses(apart, rows.targets).mean().item()
        across = token_losses(model(rows.token_ids), rows.targets).mean().item()
    assert abs(expected - across) > 1e-3
    apart = [(rows.token_ids[i : i + 2], rows.targets[i : i + 2], rows.segments[i : i + 2]) for i in range(0, 9, 2)]
    report = evaluate(model, [batch for batch in apart if len(batch[0])])
    assert report.n_tokens == rows.n_targets and report.loss_nats == pytest.approx(expected, rel=1e-5)
    assert evaluate(model, rows.batches(2)).loss_nats == pytest.approx(across, rel=1e-5)
    for segments, first in (((rows.segments,), expected), ((), across)):
        batches = [(rows.token_ids, rows.targets, *segments)]
        whole = list(Trainer(model_and_texts(tied_head)[0], batches, TrainConfig(2)))
        pieces = list(Trainer(model_and_texts(tied_head)[0], batches, TrainConfig(2, micro_batch_size=2)))
        assert whole[0].loss_nats == pytest.approx(first, rel=1e-5)
        assert [r.loss_nats for r in pieces] == pytest.approx([r.loss_nats for r in whole], rel=1e-4)
        assert [r.grad_norm for r in pieces] == pytest.approx([r.grad_norm for r in whole], rel=1e-4)
