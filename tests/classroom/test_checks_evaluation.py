"""The exercises of notebook 01: planted mistakes are caught, each with a sentence that leads on."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.classroom import RIGHT, verdict
from tests import exercises


def months(n_tokens, batch_size, context_length, step_ms):
    seconds = n_tokens / (batch_size * context_length) * step_ms / 1000
    return seconds / (30 * 24 * 3600)


def whole_steps(n_tokens, batch_size, context_length, step_ms):
    n_steps = math.ceil(n_tokens / (batch_size * context_length))
    return months(n_steps, 1, 1, step_ms)


def greedy(model, token_ids, n_new, *, window=lambda ids, T: ids[:, -T:], row=-1, forgets=False):
    for _ in range(n_new):
        read = window(token_ids, model.config.context_length)
        next_id = model(read)[:, row].argmax(-1, keepdim=True)
        token_ids = torch.cat([read if forgets else token_ids, next_id], dim=1)
    return token_ids


def probs(hidden, unembedding, shift=lambda scores: scores - scores.max()):
    weights = shift(unembedding @ hidden).exp()
    return weights / weights.sum()


def entropy(p):
    return float(torch.special.entr(p).sum())


RIGHT_ANSWERS = {
    "e1-months": lambda *a: torch.tensor(months(*a)),
    "e2-greedy": greedy,
    "e3-probabilities": lambda h, w: w.matmul(h).sub(w.matmul(h).logsumexp(0)).exp(),
    "e4-entropy": entropy,
}

MISTAKES = [
    ("e1-months", lambda *a: months(*a) * 1000, "milliseconds"),
    ("e1-months", lambda *a: months(*a) * 30, "days"),
    ("e1-months", lambda n, B, T, ms: months(n, B, 1, ms), "How many tokens"),
    ("e1-months", lambda *a: -months(*a), "number above 0"),
    ("e2-greedy", lambda *a: greedy(*a, window=lambda ids, T: ids), "outgrown"),
    ("e2-greedy", lambda *a: greedy(*a, window=lambda ids, T: ids[:, :T]), "are they the last `context_length`"),
    ("e2-greedy", lambda *a: greedy(*a, forgets=True), "keeps every token"),
    ("e2-greedy", lambda *a: greedy(*a, row=0), "Which row"),
    ("e2-greedy", lambda m, x, n: greedy(m, x, n)[:, x.shape[1] :], "one id per sequence"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores), "0 / 0 is NaN"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores - scores.mean()), "none is above 0"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores.clamp(-80, 80)), "differences of scores"),
    ("e3-probabilities", lambda h, w: torch.softmax(w @ h, 0), "softmax does it all"),
    ("e3-probabilities", lambda h, w: torch.nn.functional.log_softmax(w @ h, 0).exp(), "softmax does it all"),
    ("e3-probabilities", lambda h, w: probs(h / h.norm(), w / w.norm(dim=1, keepdim=True)), "length included"),
    ("e3-probabilities", lambda h, w: probs(h, w)[:-1], "one probability per token"),
    ("e4-entropy", lambda p: -(p * p.log()).sum(), "0 · ln 0"),
    ("e4-entropy", lambda p: entropy(p) / math.log(2), "bits"),
    ("e4-entropy", lambda p: -entropy(p), "-p ln p"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


@pytest.mark.parametrize(("name", "answer"), [("e1-months", whole_steps), ("e3-probabilities", probs)])
def test_other_right_answers(name, answer):
    assert verdict(name, answer) == f"{RIGHT}."


def test_softmax_works_again_after_the_check():
    verdict("e3-probabilities", probs)
    assert torch.tensor([0.0, 0.0]).softmax(0).tolist() == torch.softmax(torch.zeros(2), 0).tolist() == [0.5, 0.5]
