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


def months_of_whole_steps(n_tokens, batch_size, context_length, step_ms):
    return math.ceil(n_tokens / (batch_size * context_length)) * step_ms / 1000 / (30 * 24 * 3600)


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


def greedy_forgets(model, token_ids, n_new):
    for _ in range(n_new):
        token_ids = token_ids[:, -model.config.context_length :]
        token_ids = torch.cat([token_ids, model(token_ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
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
    weights = (unembedding @ hidden / unembedding.norm(dim=1) / hidden.norm()).exp()
    return weights / weights.sum()


def centred_probs(hidden, unembedding):
    scores = unembedding @ hidden
    weights = (scores - scores.mean()).exp()
    return weights / weights.sum()


def clamped_probs(hidden, unembedding):
    weights = (unembedding @ hidden).clamp(-80, 80).exp()
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
    ("e2-greedy", greedy_without_window, "outgrown"),
    ("e2-greedy", greedy_first_window, "are they the last `context_length`"),
    ("e2-greedy", greedy_forgets, "keeps every token"),
    ("e2-greedy", greedy_first_row, "Which row"),
    ("e2-greedy", lambda m, x, n: greedy(m, x, n)[:, x.shape[1] :], "one id per sequence"),
    ("e2-greedy", greedy_in_place, "has changed"),
    ("e3-probabilities", naive_probs, "0 / 0 is NaN"),
    ("e3-probabilities", centred_probs, "none is above 0"),
    ("e3-probabilities", clamped_probs, "differences of scores"),
    ("e3-probabilities", lambda h, w: torch.softmax(w @ h, 0), "softmax does it all"),
    ("e3-probabilities", lambda h, w: (w @ h).softmax(0), "softmax does it all"),
    ("e3-probabilities", lambda h, w: torch.nn.functional.log_softmax(w @ h, 0).exp(), "softmax does it all"),
    ("e3-probabilities", cosine_probs, "length included"),
    ("e3-probabilities", lambda h, w: w @ h, "sum to 1"),
    ("e3-probabilities", lambda h, w: probs(h, w)[:-1], "one probability per token"),
    ("e4-entropy", lambda p: -(p * p.log()).sum(), "0 · ln 0"),
    ("e4-entropy", lambda p: entropy(p) / math.log(2), "bits"),
    ("e4-entropy", lambda p: -entropy(p), "-p ln p"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


@pytest.mark.parametrize(("name", "answer"), [("e1-months", months_of_whole_steps), ("e3-probabilities", probs)])
def test_other_right_answers(name, answer):
    assert verdict(name, answer) == f"{RIGHT}."


def test_softmax_works_again_after_the_check():
    verdict("e3-probabilities", probs)
    assert torch.tensor([0.0, 0.0]).softmax(0).tolist() == torch.softmax(torch.zeros(2), 0).tolist() == [0.5, 0.5]
