"""The exercises of notebook 01: planted mistakes are caught, each with a sentence that leads on."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.checks import NOT_ATTEMPTED, RIGHT, WRONG, verdict


def months(n_tokens, batch_size, context_length, step_ms):
    seconds = n_tokens / (batch_size * context_length) * step_ms / 1000
    return seconds / (30 * 24 * 3600)


def greedy(model, token_ids, n_new):
    for _ in range(n_new):
        logits = model(token_ids[:, -model.config.context_length :])
        token_ids = torch.cat([token_ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return token_ids


def greedy_without_window(model, token_ids, n_new):
    for _ in range(n_new):
        token_ids = torch.cat([token_ids, model(token_ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return token_ids


def greedy_first_window(model, token_ids, n_new):
    for _ in range(n_new):
        logits = model(token_ids[:, : model.config.context_length])
        token_ids = torch.cat([token_ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return token_ids


def greedy_first_row(model, token_ids, n_new):
    for _ in range(n_new):
        logits = model(token_ids[:, -model.config.context_length :])
        token_ids = torch.cat([token_ids, logits[:, 0].argmax(-1, keepdim=True)], dim=1)
    return token_ids


def greedy_in_place(model, token_ids, n_new):
    result = greedy(model, token_ids, n_new)
    token_ids.zero_()
    return result


def probs(hidden, unembedding):
    scores = unembedding @ hidden
    weights = (scores - scores.max()).exp()
    return weights / weights.sum()


def naive_probs(hidden, unembedding):
    weights = (unembedding @ hidden).exp()
    return weights / weights.sum()


def cosine_probs(hidden, unembedding):
    scores = unembedding @ hidden / unembedding.norm(dim=1) / hidden.norm()
    return scores.softmax(0)


def entropy(p):
    return float(torch.special.entr(p).sum())


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("e1-months", months, RIGHT),
        ("e1-months", lambda *a: months(*a) * 1000, "milliseconds"),
        ("e1-months", lambda *a: months(*a) * 30, "days"),
        ("e1-months", lambda n, B, T, ms: months(n, B, 1, ms), "How many tokens"),
        ("e1-months", lambda *a: None, "number above 0"),
        ("e2-greedy", greedy, RIGHT),
        ("e2-greedy", greedy_without_window, "outgrown"),
        ("e2-greedy", greedy_first_window, "Which row"),
        ("e2-greedy", greedy_first_row, "Which row"),
        ("e2-greedy", lambda m, x, n: greedy(m, x, n)[:, x.shape[1] :], "One id per row"),
        ("e2-greedy", greedy_in_place, "has changed"),
        ("e3-probabilities", probs, RIGHT),
        ("e3-probabilities", naive_probs, "not a number"),
        ("e3-probabilities", cosine_probs, "length included"),
        ("e3-probabilities", lambda h, w: w @ h, "sum to 1"),
        ("e3-probabilities", lambda h, w: probs(h, w)[:-1], "one probability per token"),
        ("e4-entropy", entropy, RIGHT),
        ("e4-entropy", lambda p: -(p * p.log()).sum(), "nan"),
        ("e4-entropy", lambda p: entropy(p) / math.log(2), "bits"),
        ("e4-entropy", lambda p: -entropy(p), "-p ln p"),
        ("e4-entropy", lambda p: -(p * (p + 1e-3).log()).sum(), "-p ln p"),
    ],
)
def test_verdict(name, answer, says):
    got = verdict(name, answer)
    assert got.startswith(RIGHT if says == RIGHT else WRONG)
    assert says in got


@pytest.mark.parametrize("name", ["e1-months", "e2-greedy", "e3-probabilities", "e4-entropy"])
def test_stub_is_not_attempted(name):
    def stub(*_):
        raise NotImplementedError

    assert verdict(name, stub).startswith(NOT_ATTEMPTED)
