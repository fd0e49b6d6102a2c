"""The checks of notebook 08: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math
from itertools import takewhile

import numpy as np
import torch

from helpers.gpt import loss
from helpers.labs import rows_of
from tests import exercises


def bits(perplexity, n_tokens, text, size=lambda text: len(text.encode()), log=math.log):
    return log(perplexity) / math.log(2) * n_tokens / size(text)


def share_by_helper(lengths, T, how):
    return rows_of([[1] * n for n in lengths], T, how, end_id=0).non_padding_fraction


def share(lengths, T, how, end=0, rows=lambda n, T: -(-n // T)):
    targets = [n + end if how == "pad" else min(n + end, T) for n in lengths]
    return sum(targets) / (T * sum(rows(n, T) for n in targets))


def pack_by_helper(documents, T, end_id):
    rows = rows_of(documents, T, "pack", end_id=end_id)
    return list(zip(rows.token_ids.tolist(), rows.targets.tolist(), strict=True))


def pack(documents, T, end_id, ends=True, step=0, ragged=False, shift=1):
    stream = [i for d in documents for i in [*d, *([end_id] if ends else [])]]
    stop = len(stream) if ragged else len(stream) - T
    return [(stream[s : s + T], stream[s + shift : s + shift + T]) for s in range(0, stop, T + step)]


def halves(
    perplexities, counts, average=lambda values, weights: sum(map(math.prod, zip(values, weights, strict=True)))
):
    weights = [n / sum(counts) for n in counts]
    return math.exp(average([math.log(p) for p in perplexities], weights))


def suspect(nats, useful, reported, base_two=2, far=lambda made, reported: abs(math.log(made / reported))):
    made = {
        "none": math.e**nats,
        "padding": math.e ** (useful * nats),
        "power of two": base_two**nats,
        "both": base_two ** (useful * nats),
    }
    return min(made, key=lambda name: far(made[name], reported))


def share_in_numpy(lengths, T, how):
    n = np.array(lengths)
    if how == "truncate":
        return np.minimum(n, T).sum() / (T * len(n))
    return n.sum() / np.ceil(n / T).sum() / T


def pack_in_tensors(documents, T, end_id):
    stream = torch.cat([torch.tensor([*document, end_id]) for document in documents])
    n = (len(stream) - 1) // T
    return list(zip(stream[: n * T].view(n, T), stream[1 : n * T + 1].view(n, T), strict=True))


def suspect_by_loss(nats, useful, reported):
    """What the report took for its loss, in the two bases."""
    gaps = {
        "none": abs(math.log(reported) - nats),
        "padding": abs(math.log(reported) - nats * useful),
        "power of two": abs(math.log(reported) - nats * math.log(2)),
        "both": abs(math.log(reported) - nats * useful * math.log(2)),
    }
    return sorted(gaps, key=gaps.get)[0]


def suspect_in_numpy(nats, useful, reported):
    made = np.array([nats, nats * useful, nats * np.log(2), nats * useful * np.log(2)])
    return np.array(["none", "padding", "power of two", "both"])[np.abs(made - np.log(reported)).argmin()]


def labels_of(rows, end_id, padding_from=1, mask=-100):
    """Padding is what the run of ends at the row's end has beyond its first `padding_from`."""
    labels = []
    for row in rows:
        run = len(list(takewhile(lambda i: i == end_id, reversed(row))))
        n_padding = max(run - padding_from, 0)
        labels.append(row[: len(row) - n_padding] + [mask] * n_padding)
    return labels


def scored(labels, first=1):
    return sum(label != -100 for row in labels for label in row[first:])


def labels_and_scored(rows, end_id):
    return labels_of(rows, end_id), scored(labels_of(rows, end_id))


def labels_in_tensors(rows, end_id):
    """Padding: an end, with an end before it and no other id from it on."""
    ids = torch.tensor(rows)
    is_end = ids == end_id
    only_ends = is_end.flip(1).long().cumprod(1).flip(1).bool()
    labels = ids.clone()
    labels[:, 1:][only_ends[:, 1:] & is_end[:, :-1]] = -100
    return labels, (labels[:, 1:] != -100).sum()


def labels_in_numpy(rows, end_id):
    ids = np.array(rows)
    last = ids.shape[1] - 1 - np.argmax(ids[:, ::-1] != end_id, axis=1)  # the last id of a document
    labels = np.where(np.arange(ids.shape[1]) > last[:, None] + 1, -100, ids)
    return labels, np.count_nonzero(labels[:, 1:] + 100)


RIGHT_ANSWERS = {
    "p1-bits": [
        bits,
        lambda p, n, text: loss.bits_per_byte(math.log(p), n, len(text.encode())),
        lambda p, n, text: math.log2(p) * n / len(text.encode("utf-8")),
        lambda p, n, text: math.log(p**n, 2) / len(bytes(text, "utf8")),
    ],
    "p2-useful-share": [share, share_by_helper, share_in_numpy],
    "p2-pack": [pack, pack_by_helper, pack_in_tensors],
    "p3-halves": [
        halves,
        lambda p, n: math.prod(x**k for x, k in zip(p, n, strict=True)) ** (1 / sum(n)),
        lambda p, n: np.exp(np.average(np.log(p), weights=n)),
        lambda p, n: (torch.tensor(p).log() @ torch.tensor(n).float() / sum(n)).exp(),
    ],
    "p3-suspect": [suspect, suspect_by_loss, suspect_in_numpy],
    "p2-labels": [labels_and_scored, labels_in_tensors, labels_in_numpy],
}

MISTAKES = [
    ("p1-bits", lambda *a: bits(*a, size=len), "Bytes, not characters"),
    ("p1-bits", lambda *a: bits(*a, log=math.log10), "How many bits"),
    ("p1-bits", lambda *a: bits(*a) / 8, "Per byte, not per bit"),
    ("p1-bits", lambda p, n, text: math.log(p) * n / len(text.encode()), "nats per byte"),
    ("p1-bits", lambda p, n, text: math.log2(p) / len(text.encode()), "not of one token"),
    ("p1-bits", lambda p, n, text: p * n / len(text.encode()), "take its logarithm"),
    ("p1-bits", lambda p, n, text: math.log2(p) * len(text.encode()) / n, "divided by the other"),
    ("p2-useful-share", lambda *a: share(*a, end=1), "first id of a document"),
    ("p2-useful-share", lambda *a: 100 * share(*a), "between 0 and 1"),
    ("p2-useful-share", lambda n, T, how: np.mean([share([x], T, how) for x in n]), "divide once"),
    ("p2-useful-share", lambda *a: 1 - share(*a), "How many targets"),
    ("p2-useful-share", lambda n, T, how: share([x - 1 for x in n], T, how), "The end is a target too"),
    ("p2-useful-share", lambda n, T, how: sum(n) / (len(n) * T), "several rows"),
    ("p2-useful-share", lambda *a: share(*a, rows=lambda n, T: n // T + 1), "Round up"),
    ("p2-useful-share", lambda lengths, T, how: share(lengths, T, "pad"), "Does `how` change"),
    ("p2-pack", lambda *a: pack(*a, ends=False), "end included"),
    ("p2-pack", lambda *a: pack(*a, step=1), "next row begins"),
    ("p2-pack", lambda d, T, end: pack(d, T, end)[:-1], "How many rows"),
    ("p2-pack", lambda d, T, end: [(x, y) for x, (_, y) in zip(d, pack(d, T, end), strict=False)], "T inputs"),
    ("p2-pack", lambda *a: iter(pack(*a)), "(list_iterator)"),
    ("p2-pack", lambda *a: pack(*a, ragged=True), "fills no row"),
    ("p2-pack", lambda *a: pack(*a, shift=0), "shift them by one"),
    ("p2-pack", lambda *a: [x for x, _ in pack(*a)], "(inputs, targets)"),
    ("p3-halves", lambda p, n: sum(p) / len(p), "mean of perplexities"),
    ("p3-halves", lambda p, n: sum(n) / sum(k / x for x, k in zip(p, n, strict=True)), "Which quantity"),
    ("p3-halves", lambda p, n: math.exp(math.log2(halves(p, n))), "One base for both"),
    ("p3-halves", lambda p, n: sum(map(math.prod, zip(p, n, strict=True))) / sum(n), "as yours does"),
    ("p3-halves", lambda p, n: halves(p, [1] * len(p)), "part of many tokens"),
    ("p3-halves", lambda p, n: math.log(halves(p, n)), "loss in nats"),
    ("p3-suspect", lambda *a: suspect(*a, base_two=10), "nearest as a ratio"),
    ("p3-suspect", lambda *a: None, "one of 'none'"),
    ("p3-suspect", lambda *a: suspect(*a, far=lambda made, reported: abs(made - reported)), "expected 'power of two'"),
    ("p3-suspect", lambda *a: suspect(*a, far=lambda made, reported: abs(made / reported - 1)), "by |ln("),
    ("p3-suspect", lambda *a: [suspect(*a)], "got ['none'] (list)"),
    ("p3-suspect", lambda n, u, r: suspect(n, 1 - u, r) if u != 0.5 else suspect(n, u, r), "multiplies the nats"),
    ("p2-labels", lambda rows, end: (rows, scored(rows)), "Padding must not be scored"),
    ("p2-labels", lambda rows, end: ([[-100 if i == end else i for i in r] for r in rows], 0), "never learns to stop"),
    ("p2-labels", lambda rows, end: (labels_of(rows, end), scored(labels_of(rows, end), 0)), "first label of a row"),
    ("p2-labels", lambda rows, end: ([[*r[1:], -100] for r in rows], scored(rows)), "Do not shift"),
    ("p2-labels", lambda rows, end: (labels_of(rows, end, mask=-1), 0), "follows the last document's end"),
    ("p2-labels", lambda rows, end: labels_of(rows, end)[0][:1], "expected 2 things"),
    ("p2-labels", lambda rows, end: (scored(rows), scored(rows)), "a list of labels for each row"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
