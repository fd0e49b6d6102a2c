"""The checks of notebook 02: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from helpers.classroom import WRONG, verdict
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


RIGHT_ANSWERS = {
    "l1-two-views": lambda ids, B: (ids[:-1].reshape(B, -1), ids[1:].unflatten(0, (B, -1))),
    "l4-stable-loss": masked_mean,
    "l5-text-perplexity": lambda batches: math.exp(torch.cat(batches).mean()),
    "l5-bits-per-byte": lambda nats, n, text: math.log2(math.e) * nats * n / len(text.encode()),
    "l6-overconfidence": lambda p, y: p.amax(-1).mean() - hit_rate(p, y),
}

MISTAKES = [
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1), ids[:-1].view(B, -1)), "targets should be"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1).clone(), ids[1:].view(B, -1)), "a view of token_ids"),
    ("l1-two-views", lambda ids, B: (ids[1:].view(B, -1), ids[:-1].view(B, -1)), "inputs should be"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(B, -1)[:, :-1], ids[:-1].view(B, -1)[:, 1:]), "in all"),
    ("l1-two-views", lambda ids, B: (ids[:-1].view(-1, B), ids[1:].view(-1, B)), "Is B the number of sequences"),
    ("l1-two-views", lambda ids, B: (ids[:-1].tolist(), ids[1:].tolist()), "got list"),
    ("l1-two-views", lambda ids, B: ids, "expected two tensors"),
    ("l4-stable-loss", lambda z, y: F.cross_entropy(z, y), "cross_entropy does it all"),
    ("l4-stable-loss", lambda z, y: -masked_mean(z, y, lambda z, y: z.log_softmax(-1)[:, 0]), "log_softmax does it"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, through_probabilities), "Did p become 0"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y, unshifted), "subtract from each row first"),
    ("l4-stable-loss", lambda z, y: masked_mean(z, y) * (y != -100).float().mean(), "a masked target"),
    ("l4-stable-loss", lambda z, y: stable(z, y.clamp(min=0)).mean(), "a masked target"),
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
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_forgotten_mask_is_caught():
    found = verdict("l4-stable-loss", lambda z, y: stable(z, y).mean())
    assert found.startswith(WRONG) and "raised" in found


def test_locked_functions_work_again_afterwards():
    for answer in (F.cross_entropy, masked_mean):
        verdict("l4-stable-loss", answer)
    z, y = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    assert torch.isclose(F.cross_entropy(z, y), -z.log_softmax(-1)[0, 1])
    assert torch.isclose(torch.logsumexp(z, -1), z.logsumexp(-1)).all()
