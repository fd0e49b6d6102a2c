"""The checks of notebook 03: other right answers pass, planted mistakes do not."""

import math
import statistics

import numpy as np
import torch

from helpers.gpt import Batches, Windows
from tests import exercises


def plan_by_helpers(n_ids, T, stride, batch_size, drop_last):
    windows = Windows(torch.arange(n_ids), T, stride)
    n_batches = 0  # Batches refuses to have none
    if len(windows) >= batch_size or not drop_last:
        n_batches = len(Batches(torch.arange(n_ids), T, batch_size, stride, drop_last=drop_last))
    return len(windows), n_batches, n_ids - windows.n_targets


def plan_with_ceil(n_ids, T, stride, batch_size, drop_last):
    starts = range(0, n_ids - T, stride)
    covered = set().union(*(range(s + 1, s + T + 1) for s in starts))
    return [len(starts), (math.floor if drop_last else math.ceil)(len(starts) / batch_size), n_ids - len(covered)]


def targets_of(starts, T):
    return [start + k for start in starts for k in range(1, T + 1)]


def bar_by_statistics(a, b, block):
    d = [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    means = [statistics.mean(d[i : i + block]) for i in range(0, len(d) - block + 1, block)]
    return statistics.mean(means), 1.96 * statistics.stdev(means) / len(means) ** 0.5


def rows_entropy(P):
    return torch.special.entr(P).sum(1)


def floor_by_eigenvector(P):
    values, vectors = np.linalg.eig(P.numpy().T)
    one = vectors[:, np.argmin(abs(values - 1))].real
    return one / one.sum() @ rows_entropy(P).numpy()


WHOLE_BLOCKS = "d[: len(d) // block * block].view(-1, block).mean(1)"
RIGHT_ANSWERS = {
    "d1-plan": [
        plan_by_helpers,
        plan_with_ceil,
        ("(n_ids - T - 1) // stride + 1", "sum(s + T < n_ids for s in range(0, n_ids, stride))"),
    ],
    "d2-shared-targets": [
        lambda train, val, T: torch.isin(*(torch.tensor(targets_of(x, T)) for x in (val, train))).double().mean(),
        lambda train, val, T: np.isin(targets_of(val, T), targets_of(train, T)).mean(),
        ("place in trained", "any(s < place <= s + T for s in train_starts)"),
    ],
    "d2-no-copies": [
        lambda a, b: [t for t in a if t.lower().split() not in [v.lower().split() for v in b]],
        lambda a, b: np.array([t for t in a if t.casefold().split() not in [v.casefold().split() for v in b]]),
        ('" ".join(text.lower().split())', r're.sub(r"\s+", " ", text.lower()).strip()'),
    ],
    "d3-paired-bar": [
        bar_by_statistics,
        ("means.std().item()", "means.numpy().std(ddof=1)"),
        (WHOLE_BLOCKS, "F.avg_pool1d(d[None], block)[0]"),
        (WHOLE_BLOCKS, "torch.stack([part.mean() for part in d.split(block) if len(part) == block])"),
    ],
    "d4-floor": [
        floor_by_eigenvector,
        ("(shares @ torch.special.entr(P).sum(1)).item()",
         "-sum(float(s * p) * math.log(p) for s, row in zip(shares, P) for p in row if p > 0)"),
        ("torch.linalg.matrix_power(lazy, 2**14)[0]",
         "torch.ones(len(P), dtype=P.dtype) / len(P)\n    for _ in range(9999):\n        shares = shares @ lazy"),
    ],
}  # fmt: skip
MISTAKES = {
    "d1-plan": {
        "one window touch": ("n_ids - T - 1", "n_ids - T"),
        "last batch that is not full": ("-(-windows // batch_size)", "windows // batch_size"),
        "count the first id": ("n_ids - targets", "n_ids - targets - 1"),
        "stride=5": ("min(stride, T)", "stride"),
        "windows": lambda right, n_ids, T, stride, *a: right(n_ids, T, T, *a),
    },
    "d2-shared-targets": {
        "half a step": lambda _, train, val, T: len(set(train) & set(val)) / len(val),
        "expected": lambda right, train, val, T: right(val, train, T),
        "what do you divide by": lambda right, train, val, T: right(train, val, T) * T,
        "expected 1.0000, got 100.0000": lambda right, *a: 100 * right(*a),
        "divide by": lambda right, train, val, T: right(train, val, T) * len(val) / len(train),
        "Which positions": lambda right, train, val, T: right([s - 1 for s in train], val, T),
        "on top of the other": ("sum(place in trained for place in scored) / len(scored)",
                                "len(trained & set(scored)) / len(set(scored))"),
    },
    "d2-no-copies": {
        "BOAT": ("text.lower()", "text"),
        "NÃO HÁ": ("text.lower()", '"".join(c.lower() if c.isascii() else c for c in text)'),
        "a part": ('" ".join', '"".join'),
        "Twice": lambda right, *a: list(dict.fromkeys(right(*a))),
        "in order": lambda right, training, validation: [*right(training, validation), training[0]],
        "as they were": ("return [text for", "return [form(text) for"),
        "And more": ("form(text) not in judged", "not any(form(copy) in form(text) for copy in validation)"),
    },
    "d3-paired-bar": {
        "half-width": lambda right, a, b, n: (right(a, b, n)[0], math.hypot(*(right(x, 0 * x, n)[1] for x in (a, b)))),
        "blocks of 2": lambda right, a, b, block: right(a, b, 1),
        "difference A - B": lambda right, a, b, block: right(b, a, block),
        "number of blocks": (" / math.sqrt(len(means))", ""),
        "times 1.96": ("1.96 * ", ""),
        "n - 1": ("means.std()", "means.std(correction=0)"),
    },
    "d4-floor": {
        "a word that stays": lambda _, P: rows_entropy(P).mean(),
        "How often does each word": lambda _, P: P.mean(0) @ rows_entropy(P),
        "settle": ("(lazy, 2**14)", "(P, 999)"),
        "there and back, with a choice": ("(lazy, 2**14)", "(P, 999)"),  # and not in the cases before
        "0 ln 0": ("torch.special.entr(P)", "-(P * P.log())"),
        "nats": lambda right, P: right(P) / math.log(2),
    },
}  # fmt: skip

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
