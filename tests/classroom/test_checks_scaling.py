"""The checks of notebook 10: other right answers pass, planted mistakes do not."""

import math
import statistics

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import sem

from helpers.labs import scaling
from tests import exercises


def best_by_search(A, a, B, b, flops):
    def loss(x):
        return A * math.exp(-a * x) + B * (6 * math.exp(x) / flops) ** b

    return math.exp(minimize_scalar(loss, bracket=(0, 20), tol=1e-13).x)


RIGHT_ANSWERS = {
    "s1-excess": [
        lambda m, t: [(m - t).mean(), sem((m - t).mean(1))],
        ("(model_nll - true_nll)", "torch.tensor(model_nll - true_nll)", "ddof", "correction"),
        lambda m, t: ((m - t).mean(), statistics.stdev(np.mean(m, 1) - np.mean(t, 1)) / math.sqrt(len(m))),
    ],
    "s4-rule": [
        lambda flops, ratio: scaling.rule_of_thumb(flops, ratio),
        lambda flops, ratio: [(flops / 6 / ratio) ** 0.5, (flops / 6 * ratio) ** 0.5],
        lambda flops, ratio: np.exp(np.linalg.solve([[1, 1], [-1, 1]], np.log([flops / 6, ratio]))),
    ],
    "s1-power": [
        lambda one, two, D1, D2, E: -np.polyfit(np.log([D1, D2]), np.log([one - E, two - E]), 1)[0],
        lambda one, two, D1, D2, E: (math.log10(one - E) - math.log10(two - E)) / (math.log10(D2) - math.log10(D1)),
        lambda one, two, D1, D2, E: math.log((one - E) / (two - E), D2 / D1),
        lambda one, two, D1, D2, E: brentq(lambda b: (two - E) * (D2 / D1) ** b - (one - E), 0, 9),
    ],
    "s2-best": [
        best_by_search,
        lambda A, a, B, b, C: scaling.best_plan(scaling.Law("sum", 1.0, A, a, B, b), C).n_params,
        lambda A, a, B, b, C: math.exp((math.log(a * A / (b * B)) + b * math.log(C / 6)) / (a + b)),
        lambda A, a, B, b, C: brentq(lambda N: a * A * N**-a - b * B * (6 * N / C) ** b, 1, 1e15, xtol=1e-3),
    ],
    "s1-floor": [
        lambda one, two, three: brentq(lambda E: (one - E) * (three - E) - (two - E) ** 2, -50, three - 1e-9),
        lambda one, two, three: three - (two - three) ** 2 / ((one - two) - (two - three)),
        lambda one, two, three: one - sum((one - two) * ((two - three) / (one - two)) ** k for k in range(9999)),
    ],
}
MISTAKES = {
    "s1-excess": {
        "subtract what the source itself loses": lambda right, m, t: (m.mean(), right(m, t)[1]),
        "The other way round": lambda right, m, t: right(t, m),
        "not independent": lambda right, m, t: right(m.reshape(-1, 1), t.reshape(-1, 1)),
        "the spread of the documents": (" / len(by_document) ** 0.5", ""),
        "square root of n": (" ** 0.5", ""),
        "ddof=1": ("ddof=1", "ddof=0"),
        "subtract first": lambda right, m, t: (right(m, t)[0], m.mean(1).std(ddof=1) / len(m) ** 0.5),
    },
    "s4-rule": {
        "six times as much": ("6 * ", ""),
        "Parameters first": lambda right, *a: right(*a)[::-1],
        "must be the ratio": lambda _, flops, ratio: (math.sqrt(flops / 6), math.sqrt(flops / 6)),
        "must be the budget": lambda _, flops, ratio: (flops, ratio),
        "two numbers above 0": lambda _, flops, ratio: (0, ratio),
    },
    "s1-power": {
        "Subtract E first": lambda right, one, two, D1, D2, E: right(one, two, D1, D2, 0),
        "The sign": lambda right, *a: -right(*a),
        "other way round": lambda right, *a: 1 / right(*a),
        "Logarithms of the ratios": lambda _, one, two, D1, D2, E: ((one - E) / (two - E)) / (D2 / D1),
        "what is its slope": lambda *_: 0.4,
    },
    "s2-best": {
        "Those are the tokens": lambda right, A, a, B, b, flops: flops / 6 / right(A, a, B, b, flops),
        "the 6 in 6 N D": ("flops / 6", "flops"),
        "The powers are factors": ("a * A / (b * B)", "A / B"),
        "where is its derivative": lambda _, A, a, B, b, flops: math.sqrt(flops / 120),
    },
    "s1-floor": {
        "those of what is above E": lambda _, one, two, three: two * two / one,
        "a straight line": lambda _, one, two, three: 2 * three - two,
        "after the next step": lambda _, one, two, three: three - (two - three) ** 2 / (one - two),
        "solve for E": lambda _, one, two, three: three,
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
