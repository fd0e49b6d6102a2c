"""The check of notebook 02's last exercise: any method passes that is exact enough, injected mistakes do not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tests import exercises


def best_of(temperatures, of=lambda z, y: F.cross_entropy(z, y).item()):
    return lambda z, y: min(temperatures, key=lambda tau: of(z / tau, y))


def calibration_gap(z, y):
    confidence, top = z.softmax(-1).max(-1)
    return abs(confidence.mean() - (top == y).float().mean()).item()


def by_gradient(z, y):
    log_beta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_beta], lr=0.5, max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        nats = F.cross_entropy(log_beta.exp() * z.double(), y)
        nats.backward()
        return nats

    optimiser.step(closure)
    return torch.exp(-log_beta.detach())


FINE = [0.02 * 1.005**i for i in range(1700)]  # 0.02 to about 96

RIGHT_ANSWERS = {"l6-best-temperature": by_gradient}
MISTAKES = [
    ("l6-best-temperature", lambda z, y: 1 / by_gradient(z, y), "divide the scores by it"),
    ("l6-best-temperature", best_of([0.1 * i for i in range(1, 30)]), "reach so far"),
    ("l6-best-temperature", best_of([0.5 * i for i in range(1, 60)]), "to the left, or to the right"),
    ("l6-best-temperature", best_of(FINE, calibration_gap), "to the left, or to the right"),
    ("l6-best-temperature", lambda z, y: math.nan, "expected"),
]

test_check = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
