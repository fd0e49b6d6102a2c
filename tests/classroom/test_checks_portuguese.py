"""The checks of notebook 08: other right answers pass, planted mistakes do not."""

import math
from statistics import fmean, geometric_mean

import numpy as np
import torch

from helpers.gpt import loss
from helpers.labs import rows_of
from tests import exercises


def share_by_helper(lengths, T, how):
    return rows_of([[1] * n for n in lengths], T, how, end_id=0).non_padding_fraction


def pack_by_helper(documents, T, end_id):
    rows = rows_of(documents, T, "pack", end_id=end_id)
    return list(zip(rows.token_ids.tolist(), rows.targets.tolist(), strict=True))


def pack_in_tensors(documents, T, end_id):
    stream = torch.cat([torch.tensor([*document, end_id]) for document in documents])
    n = (len(stream) - 1) // T
    return list(zip(stream[: n * T].view(n, T), stream[1 : n * T + 1].view(n, T), strict=True))


def suspect_in_numpy(nats, useful, reported):
    made = np.array([nats, nats * useful, nats * np.log(2), nats * useful * np.log(2)])
    return np.array(["none", "padding", "power of two", "both"])[np.abs(made - np.log(reported)).argmin()]


def labels_in_numpy(rows, end_id):
    ids = np.array(rows)
    last = ids.shape[1] - 1 - np.argmax(ids[:, ::-1] != end_id, axis=1)  # the last id of a document
    labels = np.where(np.arange(ids.shape[1]) > last[:, None] + 1, -100, ids)
    return labels, np.count_nonzero(labels[:, 1:] + 100)


STRIDE = "len(stream) - T, T)"
DISTANCE = "abs(math.log(candidates[name] / reported))"
RIGHT_ANSWERS = {
    "p1-bits": [
        lambda p, n, text: loss.bits_per_byte(math.log(p), n, len(text.encode())),
        lambda p, n, text: math.log(p**n, 2) / len(bytes(text, "utf8")),
        lambda p, n, text: math.log2(p ** (n / len(text.encode()))),
    ],
    "p2-useful-share": [
        share_by_helper,
        ("sum(-(-n // T) for n in targets)", "np.ceil(np.array(targets) / T).sum()"),
        ("sum(targets) / (rows * T)", "1 - sum(-n % T for n in targets) / (rows * T)"),
        ("sum(-(-n // T) for n in targets)", "sum(len(range(0, n, T)) for n in targets)"),
    ],
    "p2-pack": [
        pack_by_helper,
        pack_in_tensors,
        ("[(stream[s : s + T], stream[s + 1 : s + T + 1]) for s in range(0, len(stream) - T, T)]",
         "[(row[:-1], row[1:]) for row in torch.tensor(stream).unfold(0, T + 1, T)]"),
    ],
    "p3-halves": [
        lambda p, n: math.prod(x**k for x, k in zip(p, n, strict=True)) ** (1 / sum(n)),
        lambda p, n: np.exp(np.average(np.log(p), weights=n)),
        lambda p, n: (torch.tensor(p).log() @ torch.tensor(n).float() / sum(n)).exp(),
        lambda p, n: math.exp(fmean(map(math.log, p), n)),
        lambda p, n: geometric_mean([x for x, k in zip(p, n, strict=True) for _ in range(k)]),
    ],
    "p3-suspect": [
        suspect_in_numpy,
        (DISTANCE, "abs(math.log(candidates[name]) - math.log(reported))"),
        (DISTANCE, "max(candidates[name] / reported, reported / candidates[name])"),
    ],
    "p2-labels": [
        labels_in_numpy,
        ("return labels, sum(label != -100 for row in labels for label in row[1:])",
         "return torch.tensor(labels), (torch.tensor(labels)[:, 1:] != -100).sum()"),
        ("row[:n] + [-100] * (len(row) - n)",
         "[-100 if i and set(row[i - 1 :]) == {end_id} else x for i, x in enumerate(row)]",
         "        while n > 1 and row[n - 1] == row[n - 2] == end_id:\n            n -= 1\n", ""),
    ],
}  # fmt: skip
MISTAKES = {
    "p1-bits": {
        "Bytes, not characters": ("text.encode()", "text"),
        "How many bits": ("log2", "log10"),
        "Per byte, not per bit": lambda right, *a: right(*a) / 8,
        "nats per byte": ("log2", "log"),
        "not of one token": (" * n_tokens", ""),
        "take its logarithm": ("math.log2(perplexity)", "perplexity"),
        "divided by the other": lambda _, p, n, text: math.log2(p) * len(text.encode()) / n,
    },
    "p2-useful-share": {
        "first id of a document": lambda right, lengths, *a: right([n + 1 for n in lengths], *a),
        "between 0 and 1": lambda right, *a: 100 * right(*a),
        "divide once": lambda right, lengths, *a: np.mean([right([n], *a) for n in lengths]),
        "How many targets": lambda right, *a: 1 - right(*a),
        "The end is a target too": lambda right, lengths, *a: right([n - 1 for n in lengths], *a),
        "several rows": lambda _, lengths, T, how: sum(lengths) / (len(lengths) * T),
        "Round up": ("-(-n // T)", "n // T + 1"),
        "Does `how` change": lambda right, lengths, T, how: right(lengths, T, "pad"),
    },
    "p2-pack": {
        "end included": ("(*document, end_id)", "document"),
        "next row begins": (STRIDE, "len(stream) - T, T + 1)"),
        "How many rows": lambda right, *a: right(*a)[:-1],
        "T inputs": lambda right, d, *a: [(x, y) for x, (_, y) in zip(d, right(d, *a), strict=False)],
        "fills no row": (STRIDE, "len(stream), T)"),
        "shift them by one": ("stream[s + 1 : s + T + 1]", "stream[s : s + T]"),
        "(inputs, targets)": lambda right, *a: [inputs for inputs, _ in right(*a)],
    },
    "p3-halves": {
        "mean of perplexities": lambda _, p, n: sum(p) / len(p),
        "Which quantity": lambda _, p, n: sum(n) / sum(k / x for x, k in zip(p, n, strict=True)),
        "One base for both": lambda right, *a: math.exp(math.log2(right(*a))),
        "as yours does": lambda _, p, n: np.average(p, weights=n),
        "part of many tokens": lambda right, p, n: right(p, [1] * len(p)),
        "loss in nats": lambda right, *a: math.log(right(*a)),
    },
    "p3-suspect": {
        "nearest as a ratio": ("2**nats", "10**nats", "2 ** (nats", "10 ** (nats"),
        "expected 'power of two'": (DISTANCE, "abs(candidates[name] - reported)"),
        "by |ln(": (DISTANCE, "abs(candidates[name] / reported - 1)"),
        "multiplies the nats": lambda right, nats, useful, r: right(nats, useful if useful == 0.5 else 1 - useful, r),
    },
    "p2-labels": {
        "Padding must not be scored": lambda _, rows, end: (rows, sum(len(row) - 1 for row in rows)),
        "never learns to stop": lambda _, rows, end: ([[-100 if i == end else i for i in row] for row in rows], 0),
        "first label of a row": ("row[1:]", "row"),
        "Do not shift": lambda _, rows, end: ([[*row[1:], -100] for row in rows], sum(len(row) - 1 for row in rows)),
        "follows the last document's end": ("[-100] *", "[-1] *"),
        "a list of labels for each row": lambda right, *a: right(*a)[1:] * 2,
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
