"""The checks of notebook 07: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
import torch

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


def matrices_by_loop(stored):
    C = len(stored)
    parts = [torch.zeros(C, C) for _ in range(3)]
    for i in range(C):
        for j in range(3 * C):
            parts[j // C][j % C, i] = stored[i, j]
    return parts


def accounted_by_loop(expected, found):
    missing, extra, misshapen = [], [], []
    for name in expected:
        if name not in found:
            missing.append(name)
        elif tuple(found[name]) != tuple(expected[name]):
            misshapen.append(name)
    for name in found:
        if expected.get(name) is None:
            extra.append(name)
    return sorted(missing), sorted(extra), sorted(misshapen)


def first_by_numbers(right, suspect, tolerance):
    for i in range(len(right)):
        for a, b in zip(right[i].flatten().tolist(), suspect[i].flatten().tolist(), strict=True):
            if math.isnan(b) or abs(a - b) > tolerance:
                return i


def first_by_mask(right, suspect, tolerance):
    wrong = torch.stack([~((a - b).abs() <= tolerance).all() for a, b in zip(right, suspect, strict=True)])
    return wrong.nonzero()[0, 0] if wrong.any() else None


def first_in_numpy(right, suspect, tolerance):
    agree = [np.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(right, suspect, strict=True)]
    return None if all(agree) else np.argmin(agree)


def diagnosis_by_rows(right, suspect, n_heads):
    """Which row of the right matrix stands where."""
    C = right["qkv"].shape[1]
    rows = torch.arange(3 * C)
    orders = {
        "none": rows,
        "swapped": torch.cat([rows[C : 2 * C], rows[:C], rows[2 * C :]]),
        "by head": rows.view(n_heads, 3, C // n_heads).permute(1, 0, 2).flatten(),
    }
    found = [n for n, order in orders.items() if torch.allclose(right["qkv"][order], suspect["qkv"])]
    if torch.allclose(right["out_proj"], suspect["out_proj"]):
        return (found or ["unknown"])[0]
    if found == ["none"] and torch.allclose(right["out_proj"].mT, suspect["out_proj"]):
        return "transposed"
    return "unknown"


def grown_into_room(table, n_new):
    bigger = torch.empty(len(table) + n_new, table.shape[1])
    bigger[: len(table)] = table
    bigger[len(table) :] = table.mean(dim=0)
    return bigger


def grown_by_loop(table, n_new):
    rows = table.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return rows + [mean for _ in range(n_new)]


RIGHT_ANSWERS = {
    "w1-three-matrices": [
        matrices,
        matrices_by_loop,
        lambda s: tuple(part.T for part in s.chunk(3, dim=1)),
        lambda s: s.T.reshape(3, len(s), len(s)),
        lambda s: [part.T for part in np.hsplit(s.numpy(), 3)],
        lambda s: torch.nn.Parameter(s.unflatten(1, (3, -1)).permute(1, 2, 0)),
    ],
    "w1-account": [
        accounted,
        accounted_by_loop,
        lambda e, f: [sorted(e.keys() - f), sorted(f.keys() - e), [n for n in sorted(e) if f.get(n, e[n]) != e[n]]],
        lambda e, f: tuple(np.array(names, dtype=object) for names in accounted(e, f)),
    ],
    "w2-first-wrong": [
        first_beyond,
        first_by_numbers,
        first_by_mask,
        first_in_numpy,
        lambda r, s, t: next((i for i in range(len(r)) if not torch.allclose(r[i], s[i], rtol=0, atol=t)), None),
        lambda r, s, t: next(
            (i for i, (a, b) in enumerate(zip(r, s, strict=True)) if not (a - b).norm(math.inf) <= t), None
        ),
    ],
    "w2-diagnose": [
        diagnosis,
        diagnosis_by_rows,
        lambda *a: np.array([diagnosis(*a)])[0],
    ],
    "w4-grow": [
        grown,
        grown_into_room,
        grown_by_loop,
        lambda t, n: np.concatenate([t.numpy(), np.tile(t.numpy().mean(0), (n, 1))]),
    ],
}

MISTAKES = [
    ("w1-three-matrices", lambda s: s.chunk(3, 1), "x @ matrix.T"),
    ("w1-three-matrices", lambda s: s.chunk(3), "Which axis"),
    ("w1-three-matrices", lambda s: s.T.reshape(len(s), 3, len(s)).unbind(1), "other queries"),
    ("w1-three-matrices", lambda s: matrices(s)[:2], "expected 3 matrices"),
    ("w1-three-matrices", lambda s: s, "expected 3 matrices, got 5 of them"),
    ("w1-three-matrices", lambda s: matrices(s)[::-1], "the order is queries, keys, values"),
    ("w1-three-matrices", lambda s: s.reshape(3, len(s), len(s)), "x @ matrix.T"),
    ("w1-account", lambda e, f: accounted(f, e), "nothing is there"),
    ("w1-account", lambda e, f: [set(names) for names in accounted(e, f)], "Sorted lists"),
    ("w1-account", lambda e, f: [names[::-1] for names in accounted(e, f)], "Sorted"),
    ("w1-account", lambda e, f: [[(n, f[n]) for n in names if n in f] for names in accounted(e, f)], "names"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], []), "a matrix is transposed"),
    ("w1-account", lambda e, f: (*accounted(e, f)[:2], sorted(n for n in e if f.get(n) != e[n])), "no shape"),
    ("w1-account", lambda e, f: accounted(e, f)[0], "expected 3 lists"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, size=lambda x: x), "largest absolute"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, size=lambda x: x.abs().mean()), "largest absolute"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: not gap > t), "NaN"),
    ("w2-first-wrong", lambda *a: first_beyond(*a, ok=lambda gap, t: gap < t), "exactly the tolerance"),
    ("w2-first-wrong", allclose, "large numbers, one off"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or 0, "equal streams"),
    ("w2-first-wrong", lambda *a: first_beyond(*a) is not None, "(bool)"),
    ("w2-first-wrong", lambda r, s, t: first_beyond(r[1:], s[1:], t), "layer output 2"),
    ("w2-first-wrong", lambda r, s, t: first_beyond(r, s, t, ok=lambda gap, t: gap <= t * 2), "off by a little"),
    (
        "w2-first-wrong",
        lambda r, s, t: first_beyond([x / 4096 for x in r], [x / 4096 for x in s], t),
        "off by a little",
    ),
    ("w2-first-wrong", lambda *a: first_beyond(*a) or None, "embeddings differ"),
    ("w2-diagnose", lambda *a: diagnosis(*a, look_at_out=False), "all of out_proj"),
    ("w2-diagnose", lambda r, s, h: diagnosis(r, s, 2), "head by head"),
    ("w2-diagnose", only_the_values_count, "were swapped"),
    ("w2-diagnose", lambda *a: diagnosis(*a).replace("unknown", "none"), "expected 'unknown'"),
    ("w2-diagnose", lambda *a: diagnosis(*a).title(), "expected 'none', got 'None' (str)"),
    ("w2-diagnose", lambda *a: [diagnosis(*a)], "(list)"),
    ("w4-grow", lambda t, n: torch.cat([t, t.mean().expand(n, t.shape[1])]), "the mean of the old rows"),
    ("w4-grow", lambda t, n: grown(t, 1), "expected a tensor"),
    ("w4-grow", grown_in_place, "changed the caller's"),
    ("w4-grow", lambda t, n: torch.cat([t, torch.zeros(n, t.shape[1])]), "the mean of the old rows"),
    ("w4-grow", lambda t, n: torch.cat([t, t.median(0)[0].expand(n, -1)]), "the mean of the old rows"),
    ("w4-grow", lambda t, n: torch.cat([t.mean(0).expand(n, -1), t]), "to the bit"),
    ("w4-grow", lambda t, n: torch.cat([t.half().float(), t.mean(0).expand(n, -1)]), "to the bit"),
]


test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
