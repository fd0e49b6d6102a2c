"""The checks of notebook 08: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

from helpers.classroom import RIGHT, verdict
from helpers.gpt import data, loss
from tests import exercises


def bits(perplexity, n_tokens, text, size=lambda text: len(text.encode()), log=math.log):
    return log(perplexity) / math.log(2) * n_tokens / size(text)


def share_by_helper(lengths, T, how):
    return data.rows_of([[1] * n for n in lengths], T, how, end_id=0).non_padding_fraction


def share(lengths, T, how, end=0, rows=lambda n, T: -(-n // T)):
    targets = [n + end if how == "pad" else min(n + end, T) for n in lengths]
    return sum(targets) / (T * sum(rows(n, T) for n in targets))


def pack_by_helper(documents, T, end_id):
    rows = data.rows_of(documents, T, "pack", end_id=end_id)
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


RIGHT_ANSWERS = {
    "p1-bits": lambda p, n, text: loss.bits_per_byte(math.log(p), n, len(text.encode())),
    "p2-useful-share": share_by_helper,
    "p2-pack": pack_by_helper,
    "p3-halves": halves,
    "p3-suspect": suspect,
}

MISTAKES = [
    ("p1-bits", lambda *a: bits(*a, size=len), "Bytes, not characters"),
    ("p1-bits", lambda p, n, text: math.log(p) * n / len(text.encode()), "nats per byte"),
    ("p1-bits", lambda p, n, text: math.log2(p) / len(text.encode()), "not of one token"),
    ("p1-bits", lambda p, n, text: p * n / len(text.encode()), "take its logarithm"),
    ("p1-bits", lambda p, n, text: math.log2(p) * len(text.encode()) / n, "divided by the other"),
    ("p2-useful-share", lambda *a: share(*a, end=1), "first id of a document"),
    ("p2-useful-share", lambda *a: 100 * share(*a), "between 0 and 1"),
    ("p2-useful-share", lambda n, T, how: sum(n) / (len(n) * T), "several rows"),
    ("p2-useful-share", lambda *a: share(*a, rows=lambda n, T: n // T + 1), "Round up"),
    ("p2-useful-share", lambda lengths, T, how: share(lengths, T, "pad"), "Does `how` change"),
    ("p2-pack", lambda *a: pack(*a, ends=False), "end included"),
    ("p2-pack", lambda *a: pack(*a, step=1), "next row begins"),
    ("p2-pack", lambda *a: pack(*a, ragged=True), "fills no row"),
    ("p2-pack", lambda *a: pack(*a, shift=0), "shift them by one"),
    ("p2-pack", lambda *a: [x for x, _ in pack(*a)], "(inputs, targets)"),
    ("p3-halves", lambda p, n: sum(p) / len(p), "mean of perplexities"),
    ("p3-halves", lambda p, n: sum(map(math.prod, zip(p, n, strict=True))) / sum(n), "as yours does"),
    ("p3-halves", lambda p, n: halves(p, [1] * len(p)), "part of many tokens"),
    ("p3-halves", lambda p, n: math.log(halves(p, n)), "loss in nats"),
    ("p3-suspect", lambda *a: suspect(*a, base_two=10), "nearest as a ratio"),
    ("p3-suspect", lambda *a: None, "one of 'none'"),
    ("p3-suspect", lambda n, u, r: suspect(n, 1 - u, r) if u != 0.5 else suspect(n, u, r), "multiplies the nats"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_the_plain_formulas_pass_too_so_that_their_variants_above_fail_for_their_fault_alone():
    for name, answer in {"p1-bits": bits, "p2-useful-share": share, "p2-pack": pack}.items():
        assert verdict(name, answer) == f"{RIGHT}."
