"""The checks of notebook 07: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import torch

from helpers.classroom import RIGHT, verdict
from tests import exercises


def matrices(stored):
    C = len(stored)
    return tuple(stored[:, i * C : (i + 1) * C].T for i in range(3))


def accounted(expected, found):
    return (
        sorted(set(expected) - set(found)),
        sorted(set(found) - set(expected)),
        sorted(name for name in set(expected) & set(found) if expected[name] != found[name]),
    )


def first_beyond(right, suspect, tolerance, *, ok=lambda gap, tolerance: gap <= tolerance, size=lambda x: x.abs()):
    for i, (a, b) in enumerate(zip(right, suspect, strict=True)):
        if not ok(size(a - b).max(), tolerance):
            return i
    return None


def diagnosis(right, suspect, n_heads, *, look_at_out=True):
    q, k, v = right["qkv"].chunk(3)
    by_head = right["qkv"].view(n_heads, 3, -1, right["qkv"].shape[1]).transpose(0, 1).reshape(right["qkv"].shape)
    qkv, out = right["qkv"], right["out_proj"]
    planted = {
        "none": (qkv, out),
        "swapped": (torch.cat([k, q, v]), out),
        "transposed": (qkv, out.T),
        "by head": (by_head, out),
    }
    for name, (a, b) in planted.items():
        if torch.equal(suspect["qkv"], a) and (not look_at_out or torch.equal(suspect["out_proj"], b)):
            return name
    return "unknown"


def allclose(right, suspect, tolerance):
    agree = [torch.allclose(a, b, atol=tolerance) for a, b in zip(right, suspect, strict=True)]
    return None if all(agree) else agree.index(False)


def only_the_values_count(right, suspect, n_heads):
    return "none" if torch.equal(right["qkv"].sort(0)[0], suspect["qkv"].sort(0)[0]) else "unknown"


def grown(table, n_new):
    return torch.cat([table, table.mean(0, keepdim=True).repeat(n_new, 1)])


def grown_in_place(table, n_new):
    result = grown(table, n_new)
    table += 1
    return result


RIGHT_ANSWERS = {
    "w1-three-matrices": matrices,
    "w1-account": accounted,
    "w2-first-wrong": first_beyond,
    "w2-diagnose": diagnosis,
    "w4-grow": grown,
}

MISTAKES = [
    ("w1-three-matrices", lambda s: s.chunk(3, 1), "x @ matrix.T"),
    ("w1-three-matrices", lambda s: s.chunk(3), "Which axis"),
    ("w1-three-matrices", lambda s: s.T.reshape(len(s), 3, len(s)).unbind(1), "other queries"),
    ("w1-three-matrices", lambda s: matrices(s)[:2], "expected three matrices"),
    ("w1-account", lambda e, f: accounted(f, e), "nothing is there"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], []), "a matrix is transposed"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], sorted(n for n in e if f.get(n) != e[n])), "no shape"),
    ("w1-account", lambda e, f: accounted(e, f)[0], "expected three lists"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, size=lambda x: x), "largest absolute"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, size=lambda x: x.abs().mean()), "largest absolute"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: not gap > t), "NaN"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: gap < t), "exactly the tolerance"),
    ("w2-first-wrong", allclose, "large numbers, one off"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or 0, "equal streams"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or None, "embeddings differ"),
    ("w2-diagnose", lambda *a: diagnosis(*a, look_at_out=False), "all of out_proj"),
    ("w2-diagnose", lambda r, s, h: diagnosis(r, s, 2), "head by head"),
    ("w2-diagnose", only_the_values_count, "were swapped"),
    ("w4-grow", lambda t, n: torch.cat([t, t.mean().expand(n, t.shape[1])]), "the mean of the old rows"),
    ("w4-grow", lambda t, n: grown(t, 1), "expected a tensor"),
    ("w4-grow", grown_in_place, "changed the caller's"),
]


def test_one_tensor_of_three_matrices_is_three_matrices():
    as_one = verdict("w1-three-matrices", lambda stored: stored.T.reshape(3, len(stored), len(stored)))
    assert as_one == f"{RIGHT}."


test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
