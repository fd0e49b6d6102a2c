"""The check of notebook 05's exercise 6: speculative decoding's rule passes, and planted mistakes do not."""

from __future__ import annotations

from tests import exercises


def missing_part(p, q):
    missing = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    return [m / sum(missing) for m in missing] if sum(missing) else list(p)


def rule(p, q, guess, *, keep=None, instead=missing_part):
    ratio = p[guess] / q[guess]
    return (min(1.0, ratio) if keep is None else keep(p, q, guess)), instead(p, q)


def not_divided(p, q):
    return [max(0.0, a - b) for a, b in zip(p, q, strict=True)]


RIGHT_ANSWERS = {"g4-keep-or-reject": rule}

MISTAKES = [
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=lambda p, q: p), "missing to p"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: p[g] / q[g]), "in [0, 1], got 2.0"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: p[g]), "missing to p"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: 0.0, instead=lambda p, q: p), "is possible"),
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=not_divided), "sum to 1"),
    ("g4-keep-or-reject", lambda *a: rule(*a)[0], "expected (probability of keeping"),
    ("g4-keep-or-reject", lambda p, q, guess: rule(q, p, guess) if p[guess] else rule(p, q, guess), "missing to p"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
