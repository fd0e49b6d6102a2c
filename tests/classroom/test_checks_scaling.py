"""The checks of notebook 10: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar

from helpers.labs import scaling
from tests import exercises


def excess(model_nll, true_nll, ddof=1, root=math.sqrt):
    per_document = (model_nll - true_nll).mean(1)
    return per_document.mean(), per_document.std(ddof=ddof) / root(len(per_document))


def excess_in_torch(model_nll, true_nll):
    per_document = (torch.tensor(model_nll) - torch.tensor(true_nll)).mean(1)
    return per_document.mean(), per_document.std() / len(per_document) ** 0.5


def rule(flops, ratio, each=6):
    n_params = math.sqrt(flops / (each * ratio))
    return n_params, ratio * n_params


def best(A, a, B, b, flops, each=6, powers=True):
    factor = a * A / (b * B) if powers else A / B
    return factor ** (1 / (a + b)) * (flops / each) ** (b / (a + b))


def best_by_search(A, a, B, b, flops):
    def loss(x):
        return A * math.exp(-a * x) + B * (6 * math.exp(x) / flops) ** b

    return math.exp(minimize_scalar(loss, bracket=(0, 20), tol=1e-13).x)


def floor(one, two, three):
    return (one * three - two * two) / (one + three - 2 * two)


def floor_by_search(one, two, three):
    def off(E):
        return (one - E) * (three - E) - (two - E) ** 2

    return brentq(off, -50, three - 1e-9)


RIGHT_ANSWERS = {
    "s1-excess": [excess, excess_in_torch, lambda *a: np.array(excess(*a))],
    "s4-rule": [
        rule,
        lambda flops, ratio: scaling.rule_of_thumb(flops, ratio),
        lambda flops, ratio: torch.tensor(rule(flops, ratio), dtype=torch.float64),
        lambda flops, ratio: [(flops / 6 / ratio) ** 0.5, (flops / 6 * ratio) ** 0.5],
    ],
    "s1-power": [
        lambda one, two, D1, D2, E: math.log((one - E) / (two - E)) / math.log(D2 / D1),
        lambda one, two, D1, D2, E: -np.polyfit(np.log([D1, D2]), np.log([one - E, two - E]), 1)[0],
        lambda one, two, D1, D2, E: (math.log10(one - E) - math.log10(two - E)) / (math.log10(D2) - math.log10(D1)),
    ],
    "s2-best": [
        best,
        best_by_search,
        lambda A, a, B, b, C: scaling.best_plan(scaling.Law("sum", 1.0, A, a, B, b), C).n_params,
    ],
    "s1-floor": [
        floor,
        floor_by_search,
        lambda one, two, three: three - (two - three) ** 2 / ((one - two) - (two - three)),
    ],
}

MISTAKES = [
    ("s1-excess", lambda m, t: (m.mean(), excess(m, t)[1]), "subtract what the source itself loses"),
    ("s1-excess", lambda m, t: excess(t, m), "The other way round"),
    ("s1-excess", lambda m, t: excess(m.reshape(-1, 1), t.reshape(-1, 1)), "not independent"),
    ("s1-excess", lambda m, t: excess(m, t, root=lambda n: 1), "the spread of the documents"),
    ("s1-excess", lambda m, t: excess(m, t, root=lambda n: n), "square root of n"),
    ("s1-excess", lambda m, t: excess(m, t, ddof=0), "ddof=1"),
    ("s1-excess", lambda m, t: (excess(m, t)[0], m.mean(1).std(ddof=1) / len(m) ** 0.5), "subtract first"),
    ("s1-excess", lambda m, t: excess(m, t)[0], "expected 2 numbers"),
    ("s4-rule", lambda flops, ratio: rule(flops, ratio, each=1), "six times as much"),
    ("s4-rule", lambda flops, ratio: rule(flops, ratio)[::-1], "Parameters first"),
    ("s4-rule", lambda flops, ratio: (math.sqrt(flops / 6), math.sqrt(flops / 6)), "must be the ratio"),
    ("s4-rule", lambda flops, ratio: (flops, ratio), "must be the budget"),
    ("s4-rule", lambda flops, ratio: (0, ratio), "two numbers above 0"),
    ("s1-power", lambda one, two, D1, D2, E: math.log(one / two) / math.log(D2 / D1), "Subtract E first"),
    ("s1-power", lambda one, two, D1, D2, E: math.log((two - E) / (one - E)) / math.log(D2 / D1), "The sign"),
    ("s1-power", lambda one, two, D1, D2, E: math.log(D2 / D1) / math.log((one - E) / (two - E)), "other way round"),
    ("s1-power", lambda one, two, D1, D2, E: ((one - E) / (two - E)) / (D2 / D1), "Logarithms of the ratios"),
    ("s1-power", lambda one, two, D1, D2, E: 0.4, "what is its slope"),
    ("s2-best", lambda *a: a[4] / 6 / best(*a), "Those are the tokens"),
    ("s2-best", lambda *a: best(*a, each=1), "the 6 in 6 N D"),
    ("s2-best", lambda *a: best(*a, powers=False), "The powers are factors"),
    ("s2-best", lambda *a: math.sqrt(a[4] / 120), "where is its derivative"),
    ("s1-floor", lambda one, two, three: two * two / one, "those of what is above E"),
    ("s1-floor", lambda one, two, three: 2 * three - two, "a straight line"),
    ("s1-floor", lambda one, two, three: three - (two - three) ** 2 / (one - two), "after the next step"),
    ("s1-floor", lambda one, two, three: three, "solve for E"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
