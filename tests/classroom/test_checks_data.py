"""The checks of notebook 03: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math
import statistics

import numpy as np
import torch

from helpers.classroom import verdict
from helpers.gpt import Batches, Windows
from tests import exercises


def plan_by_helpers(n_ids, T, stride, batch_size, drop_last):
    windows = Windows(torch.arange(n_ids), T, stride)
    n_batches = 0  # Batches refuses to have none
    if len(windows) >= batch_size or not drop_last:
        n_batches = len(Batches(torch.arange(n_ids), T, batch_size, stride, drop_last=drop_last))
    return len(windows), n_batches, n_ids - windows.n_targets


def plan(n_ids, T, stride, batch_size, drop_last, *, touched=1, ceil=True, first=0, overlap=True):
    n = (n_ids - T - touched) // stride + 1
    batches = n // batch_size if drop_last or not ceil else -(-n // batch_size)
    covered = (n - 1) * (min(stride, T) if overlap else stride) + T
    return n, batches, n_ids - covered - first


def targets_of(starts, T):
    return [start + k for start in starts for k in range(1, T + 1)]


def shared(train, val, T):
    inside = set(targets_of(train, T))
    return sum(place in inside for place in targets_of(val, T)) / (len(val) * T)


def squeezed(text):
    return " ".join(text.lower().split())


def no_copies(training, validation, by=squeezed):
    judged = {by(text) for text in validation}
    return [text for text in training if by(text) not in judged]


def paired(a, b, block, scale=1.96, n=lambda d: len(d)):
    d = (a - b).double()[: len(a) // block * block].view(-1, block).mean(1)
    return d.mean(), scale * d.std() / math.sqrt(n(d))


def unpaired(a, b, block):
    bars = [paired(x, torch.zeros_like(x), block)[1] for x in (a, b)]
    return paired(a, b, block)[0], math.hypot(*bars)


def shares(P):
    lazy = (P + torch.eye(len(P), dtype=P.dtype)) / 2
    return torch.linalg.matrix_power(lazy, 2**14)[0]


def rows_entropy(P):
    return torch.special.entr(P).sum(1)


def plan_with_ceil(n_ids, T, stride, batch_size, drop_last):
    n = len(range(0, n_ids - T, stride))
    covered = set().union(*(range(s + 1, s + T + 1) for s in range(0, n_ids - T, stride)))
    return [n, (math.floor if drop_last else math.ceil)(n / batch_size), n_ids - len(covered)]


def bar_by_statistics(a, b, block):
    d = [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    means = [statistics.mean(d[i : i + block]) for i in range(0, len(d) - block + 1, block)]
    return statistics.mean(means), 1.96 * statistics.stdev(means) / len(means) ** 0.5


def bar_in_numpy(a, b, block):
    n = len(a) // block
    means = (a - b).numpy()[: n * block].reshape(n, block).mean(axis=1)
    return np.array([means.mean(), 1.96 * means.std(ddof=1) / np.sqrt(n)])


def shares_by_eigenvector(P):
    values, vectors = np.linalg.eig(P.numpy().T)
    one = vectors[:, np.argmin(abs(values - 1))].real
    return torch.tensor(one / one.sum())


RIGHT_ANSWERS = {
    "d1-plan": [plan, plan_by_helpers, plan_with_ceil],
    "d2-shared-targets": [
        shared,
        lambda train, val, T: torch.isin(*(torch.tensor(targets_of(x, T)) for x in (val, train))).double().mean(),
        lambda train, val, T: np.isin(targets_of(val, T), targets_of(train, T)).mean(),
    ],
    "d2-no-copies": [
        no_copies,
        lambda a, b: [t for t in a if t.lower().split() not in [v.lower().split() for v in b]],
        lambda a, b: np.array(no_copies(a, b, lambda t: tuple(t.casefold().split()))),
    ],
    "d3-paired-bar": [paired, bar_by_statistics, bar_in_numpy],
    "d4-floor": [
        lambda P: shares(P) @ rows_entropy(P),
        lambda P: shares_by_eigenvector(P) @ rows_entropy(P),
        lambda P: -sum(float(s * p) * math.log(p) for s, row in zip(shares(P), P, strict=True) for p in row if p > 0),
    ],
}

MISTAKES = [
    ("d1-plan", lambda *a: plan(*a, touched=0), "one window touch"),
    ("d1-plan", lambda *a: plan(*a, ceil=False), "last batch that is not full"),
    ("d1-plan", lambda *a: plan(*a, first=1), "count the first id"),
    ("d1-plan", lambda *a: plan(*a, overlap=False), "stride=5"),
    ("d1-plan", lambda *a: plan(*a)[0], "expected 3 numbers, got 2 (int)"),
    ("d1-plan", lambda n, T, s, B, drop: plan(n, T, T, B, drop), "windows"),
    ("d1-plan", lambda *a: plan(*a)[:2], "got 2 of them"),
    ("d2-shared-targets", lambda a, b, T: len(set(a) & set(b)) / len(b), "half a step"),
    ("d2-shared-targets", lambda a, b, T: shared(b, a, T), "expected"),
    ("d2-shared-targets", lambda a, b, T: shared(a, b, T) * T, "what do you divide by"),
    ("d2-shared-targets", lambda a, b, T: 100 * shared(a, b, T), "expected 1.0000, got 100.0000"),
    ("d2-shared-targets", lambda a, b, T: shared(a, b, T) * len(b) / len(a), "divide by"),
    ("d2-shared-targets", lambda a, b, T: shared([s - 1 for s in a], b, T), "Which positions"),
    (
        "d2-shared-targets",
        lambda a, b, T: len(set(targets_of(a, T)) & set(targets_of(b, T))) / len(set(targets_of(b, T))),
        "on top of the other",
    ),
    ("d2-no-copies", lambda a, b: [t for t in a if t not in b], "BOAT"),
    ("d2-no-copies", lambda a, b: no_copies(a, b, lambda t: "".join(t.lower().split())), "a part"),
    ("d2-no-copies", lambda a, b: list(dict.fromkeys(no_copies(a, b))), "Twice"),
    ("d2-no-copies", lambda a, b: set(no_copies(a, b)), "(set)"),
    ("d2-no-copies", lambda a, b: (t for t in no_copies(a, b)), "(generator)"),
    ("d2-no-copies", lambda a, b: [*no_copies(a, b), a[0]], "in order"),
    ("d2-no-copies", lambda a, b: [squeezed(t) for t in no_copies(a, b)], "as they were"),
    ("d2-no-copies", lambda a, b: [t for t in a if not any(squeezed(v) in squeezed(t) for v in b)], "And more"),
    ("d3-paired-bar", unpaired, "half-width"),
    ("d3-paired-bar", lambda a, b, block: paired(a, b, 1), "blocks of 2"),
    ("d3-paired-bar", lambda a, b, block: paired(b, a, block), "difference A - B"),
    ("d3-paired-bar", lambda a, b, block: paired(a, b, block, n=lambda d: 1), "number of blocks"),
    ("d3-paired-bar", lambda a, b, block: paired(a, b, block)[0], "expected 2 numbers, got tensor"),
    ("d3-paired-bar", lambda a, b, block: paired(a, b, block, scale=1), "times 1.96"),
    ("d3-paired-bar", lambda a, b, block: paired(a, b, block, n=lambda d: len(d) ** 2 / (len(d) - 1)), "n - 1"),
    ("d4-floor", lambda P: rows_entropy(P).mean(), "a word that stays"),
    ("d4-floor", lambda P: P.mean(0) @ rows_entropy(P), "How often does each word"),
    ("d4-floor", lambda P: torch.linalg.matrix_power(P, 999)[0] @ rows_entropy(P), "settle"),
    ("d4-floor", lambda P: -(shares(P) @ (P * P.log()).sum(1)), "0 ln 0"),
    ("d4-floor", lambda P: shares(P) @ rows_entropy(P) / math.log(2), "nats"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_powers_of_the_matrix_are_enough_where_nothing_goes_there_and_back_with_a_choice():
    found = verdict("d4-floor", lambda P: torch.linalg.matrix_power(P, 999)[0] @ rows_entropy(P))
    assert "there and back, with a choice" in found  # and not in the cases before, of which one has no entropy at all
