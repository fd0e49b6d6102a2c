"""The check of notebook 05's exercise 6: speculative decoding's rule passes, and planted mistakes do not."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tests import exercises


def missing_part(p, q):
    missing = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    return [m / sum(missing) for m in missing] if sum(missing) else list(p)


def rule(p, q, guess, *, keep=None, instead=missing_part):
    ratio = p[guess] / q[guess]
    return (min(1.0, ratio) if keep is None else keep(p, q, guess)), instead(p, q)


def not_divided(p, q):
    return [max(0.0, a - b) for a, b in zip(p, q, strict=True)]


def rule_by_loop(p, q, guess):
    instead, total = [0.0] * len(p), 0.0
    for token in range(len(p)):
        if p[token] > q[token]:
            instead[token] = p[token] - q[token]
            total += instead[token]
    if total == 0:
        return 1, tuple(p)
    for token in range(len(p)):
        instead[token] /= total
    return (1 if p[guess] >= q[guess] else p[guess] / q[guess]), instead


def rule_in_tensors(p, q, guess):
    p, q = torch.tensor(p), torch.tensor(q)
    missing = F.relu(p - q)
    return (p / q)[guess].clamp(max=1), F.normalize(missing, p=1, dim=0) if missing.any() else p


def rule_in_numpy(p, q, guess):
    missing = np.array(p) - np.minimum(p, q)
    instead = missing / missing.sum() if missing.sum() else np.array(p)
    return np.array([min(p[guess], q[guess]) / q[guess]]), instead


RIGHT_ANSWERS = {"g4-keep-or-reject": [rule, rule_by_loop, rule_in_tensors, rule_in_numpy]}

MISTAKES = [
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=lambda p, q: p), "missing to p"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: p[g] / q[g]), "in [0, 1], got 2.0"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: p[g]), "missing to p"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: 0.0, instead=lambda p, q: p), "is possible"),
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=not_divided), "sum to 1"),
    ("g4-keep-or-reject", lambda *a: rule(*a)[0], "expected 2 things (probability of keeping"),
    ("g4-keep-or-reject", lambda p, q, guess: rule(q, p, guess) if p[guess] else rule(p, q, guess), "missing to p"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
