"""The checks of notebook 02: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from helpers.classroom import verdict
from helpers.gpt import loss
from tests import exercises


def stable(z, y):
    m = z.max(-1, keepdim=True).values
    return m.squeeze(-1) + (z - m).exp().sum(-1).log() - z.gather(-1, y[:, None]).squeeze(-1)


def masked_mean(z, y, of=stable):
    return of(z[y != -100], y[y != -100]).mean()


def through_probabilities(z, y):
    return -z.softmax(-1).gather(-1, y[:, None]).squeeze(-1).log()


def hit_rate(p, y):
    return (p.argmax(-1) == y).float().mean()


def unshifted(z, y):
    return z.exp().sum(-1).log() - z.gather(-1, y[:, None]).squeeze(-1)


def windows_in_pairs(ids, B):
    T = (len(ids) - 1) // B
    rows = ids.unfold(0, T + 1, T)
    return rows[:, :-1], rows[:, 1:]


def loss_in_numpy(z, y):
    z, y = z.numpy().astype(np.float64), y.numpy()
    z, y = z[y >= 0], y[y >= 0]
    z = z - z.max(1, keepdims=True)
    return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y])


def calibration_by_loop(p, y):
    gaps = [max(row) - (row.index(max(row)) == target) for row, target in zip(p.tolist(), y.tolist(), strict=True)]
    return sum(gaps) / len(gaps)


def best_temperature_of(temperatures, of=lambda z, y: F.cross_entropy(z, y).item()):
    return lambda z, y: min(temperatures, key=lambda tau: of(z / tau, y))


def temperature_by_gradient(z, y):
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


def temperature_in_one_tensor(z, y):
    taus = torch.logspace(-1, math.log10(20), 1200)  # 0.1 to 20, as the exercise promises
    logs = (z / taus[:, None, None]).log_softmax(-1)
    return taus[logs[:, torch.arange(len(y)), y].mean(1).argmax()]


RIGHT_ANSWERS = {
    "l1-two-views": [
        lambda ids, B: (ids[:-1].reshape(B, -1), ids[1:].unflatten(0, (B, -1))),
        lambda ids, B: [ids[:-1].view(B, -1), ids[1:].view(B, -1)],
        lambda ids, B: (ids.numpy()[:-1].reshape(B, -1), ids.numpy()[1:].reshape(B, -1)),
        windows_in_pairs,
    ],
    "l4-stable-loss": [masked_mean, loss_in_numpy, lambda z, y: masked_mean(z.double(), y)],
    "l5-text-perplexity": [
        lambda batches: math.exp(torch.cat(batches).mean()),
        lambda batches: math.e ** (sum(float(x) for b in batches for x in b) / sum(len(b) for b in batches)),
        lambda batches: np.exp(np.mean(np.concatenate([b.numpy() for b in batches]))),
        lambda batches: sum(len(b) / sum(map(len, batches)) * b.mean() for b in batches if len(b)).exp(),
    ],
    "l5-bits-per-byte": [
        lambda nats, n, text: math.log2(math.e) * nats * n / len(text.encode()),
        lambda nats, n, text: nats / math.log(2) * n / len(bytes(text, "utf-8")),
        lambda nats, n, text: loss.bits_per_byte(nats, n, len(text.encode())),
        lambda nats, n, text: (
            torch.tensor(nats * n) / torch.log(torch.tensor(2.0)) / sum(len(c.encode()) for c in text)
        ),
    ],
    "l6-overconfidence": [
        calibration_by_loop,
        lambda p, y: p.amax(-1).mean() - hit_rate(p, y),
        lambda p, y: np.mean(p.numpy().max(1)) - np.mean(p.numpy().argmax(1) == y.numpy()),
    ],
    "l6-best-temperature": [temperature_by_gradient, temperature_in_one_tensor, best_temperature_of(FINE)],
}

MISTAKES = [
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1), ids[:-1].view(B, -1)), "targets should be"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1).clone(), ids[1:].view(B, -1)), "a view of token_ids"),
    ("l1-two-views", lambda ids, B: (ids[1:].view(B, -1), ids[:-1].view(B, -1)), "inputs should be"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1)[:, :-1], ids[:-1].view(B, -1)[:, 1:]), "in all"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(-1, B), ids[1:].view(-1, B)), "Is B the number of sequences"),
    ("l1-two-views", lambda ids, B: (ids[:-1].chunk(B), ids[1:].chunk(B)), "(tuple)"),
    ("l1-two-views", lambda ids, B: (ids[:-1].tolist(), ids[1:].tolist()), "expected a tensor (2, 3), got [7, "),
    ("l1-two-views", lambda ids, B: ids.sum(), "expected two tensors (inputs, targets), got 1"),
    ("l1-two-views", lambda ids, B: ids, "expected two tensors"),
    ("l4-stable-loss", lambda z, y: stable(z, y).mean(), "raised"),
    ("l4-stable-loss", lambda z, y: F.cross_entropy(z, y), "cross_entropy does it all"),
    ("l4-stable-loss", lambda z, y: -masked_mean(z, y, lambda z, y: z.log_softmax(-1)[:, 0]), "log_softmax does it"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, through_probabilities), "Did p become 0"),
    ("l4-stable-loss", lambda z, y: masked_mean(z.double(), y, through_probabilities), "10,000 below the top-1"),
    ("l4-stable-loss", lambda z, y: F.nll_loss(z.softmax(-1).clamp(min=1e-30).log(), y), "Is p clamped"),
    ("l4-stable-loss", lambda z, y: F.nll_loss((z.double().softmax(-1) + 1e-300).log(), y), "10,000 below"),
    ("l4-stable-loss", lambda z, y: F.nll_loss(z - z.amax(-1, keepdim=True), y), "small scores"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y) / math.log(2), "how many targets"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, lambda z, y: unshifted(z - z.max(), y)), "exponentials of a row"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, lambda z, y: stable(z.clamp(-80, 80), y)), "scores near 10,000"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, unshifted), "subtract from each row first"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y) * (y != -100).float().mean(), "a masked target"),
    ("l4-stable-loss", lambda z, y: stable(z[y != -100], y[y != -100]), "one number"),
    ("l5-text-perplexity", lambda batches: math.exp(sum(b.mean() for b in batches) / len(batches)), "in a short batch"),
    ("l5-text-perplexity", lambda batches: torch.cat(batches).exp().mean(), "exponential come last"),
    ("l5-text-perplexity", lambda batches: torch.cat(batches).mean(), "as perplexity"),
    ("l5-bits-per-byte", lambda nats, n, text: nats * n / math.log(2) / len(text), "letters or bytes"),
    ("l5-bits-per-byte", lambda nats, n, text: nats * n / len(text.encode()), "Nats or bits"),
    ("l5-bits-per-byte", lambda nats, n, text: nats / math.log(2) / len(text.encode()), "in all"),
    ("l6-overconfidence", lambda p, y: hit_rate(p, y) - p.amax(-1).mean(), "expected +0.4"),
    ("l6-overconfidence", lambda p, y: p.gather(-1, y[:, None]).mean() - hit_rate(p, y), "top-1"),
    ("l6-overconfidence", lambda p, y: p.amax(-1).mean(), "how often"),
    ("l6-overconfidence", lambda p, y: abs(p.amax(-1).mean() - hit_rate(p, y)), "expected -0.4"),
    ("l6-best-temperature", lambda z, y: 1 / temperature_by_gradient(z, y), "divide the scores by it"),
    ("l6-best-temperature", best_temperature_of([0.1 * i for i in range(1, 30)]), "reach so far"),
    ("l6-best-temperature", best_temperature_of([0.5 * i for i in range(1, 60)]), "to the left, or to the right"),
    ("l6-best-temperature", lambda z, y: math.nan, "expected"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_locked_functions_work_again_afterwards():
    for answer in (F.cross_entropy, masked_mean):
        verdict("l4-stable-loss", answer)
    z, y = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    assert torch.isclose(F.cross_entropy(z, y), -z.log_softmax(-1)[0, 1])
    assert torch.isclose(torch.logsumexp(z, -1), z.logsumexp(-1)).all()
