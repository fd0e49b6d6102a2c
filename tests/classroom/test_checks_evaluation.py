"""The exercises of notebook 01: planted mistakes are caught, each with a sentence that leads on."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import torch

from tests import exercises


def months(n_tokens, batch_size, context_length, step_ms):
    seconds = n_tokens / (batch_size * context_length) * step_ms / 1000
    return seconds / (30 * 24 * 3600)


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


def greedy_in_lists(model, token_ids, n_new):
    rows = token_ids.tolist()
    for _ in range(n_new):
        window = torch.tensor([row[-model.config.context_length :] for row in rows])
        for row, scores in zip(rows, model(window)[:, -1].tolist(), strict=True):
            row.append(max(range(len(scores)), key=scores.__getitem__))
    return rows


def greedy_in_numpy(model, token_ids, n_new):
    ids = token_ids.numpy()
    for _ in range(n_new):
        scores = model(torch.from_numpy(ids[:, -model.config.context_length :])).numpy()
        ids = np.concatenate([ids, scores[:, -1].argmax(-1)[:, None]], axis=1)
    return ids


def option_scores(model, question, options, *, skip=0, of=torch.mean):
    found = []
    for option in options:
        text = torch.cat([question, option])
        logs = model(text[None, :-1])[0].log_softmax(-1).gather(-1, text[1:, None])[:, 0]
        found.append(of(logs[len(question) - 1 + skip :]))
    return torch.stack(found)


def best_of_whole_texts(model, question, options):
    texts = [torch.cat([question, option]) for option in options]
    logs = [model(t[None, :-1])[0].log_softmax(-1).gather(-1, t[1:, None]) for t in texts]
    return torch.stack([each.mean() for each in logs]).argmax()


def best_without_question(model, question, options):
    return option_scores(model, question[:1] * 0, options).argmax()


def best_in_one_batch(model, question, options):
    """Rows filled up on the right: what is behind a token has no influence on its row."""
    texts = torch.nn.utils.rnn.pad_sequence([torch.cat([question, o]) for o in options], batch_first=True)
    lengths = torch.tensor([len(o) for o in options])
    logs = model(texts)[:, :-1].log_softmax(-1).gather(-1, texts[:, 1:, None])[..., 0][:, len(question) - 1 :]
    kept = torch.arange(logs.shape[1]) < lengths[:, None]
    return ((logs * kept).sum(1) / lengths).argmax()


def best_in_numpy(model, question, options):
    means = []
    for option in options:
        z = model(torch.cat([question, option])[None])[0].double().numpy()[len(question) - 1 : -1]
        logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
        means.append(logs[np.arange(len(option)), option.numpy()].mean())
    return np.argmax(means)


RIGHT_ANSWERS = {
    "e1-months": [
        months,
        lambda n, B, T, ms: timedelta(milliseconds=ms * n / B / T) / timedelta(days=30),
        lambda n, B, T, ms: torch.tensor([n / (B * T) * ms / 2.592e9]),
    ],
    "e2-greedy": [greedy, greedy_in_lists, greedy_in_numpy],
    "e3-probabilities": [
        probs,
        lambda h, w: w.matmul(h).sub(w.matmul(h).logsumexp(0)).exp(),
        lambda h, w: 1 / ((w @ h)[None] - (w @ h)[:, None]).clamp(max=80).exp().sum(1),
    ],
    "e4-entropy": [
        entropy,
        lambda p: -sum(q * math.log(q) for q in p.tolist() if q),
        lambda p: torch.distributions.Categorical(p).entropy(),
        lambda p: (p * -(p + 1e-12).log()).sum(),
    ],
    "e5-best-option": [lambda *a: option_scores(*a).argmax().item(), best_in_one_batch, best_in_numpy],
}

MISTAKES = [
    ("e1-months", lambda *a: months(*a) * 1000, "milliseconds"),
    ("e1-months", lambda *a: months(*a) * 30, "days"),
    ("e1-months", lambda *a: months(*a) * 30 * 24, "hours"),
    ("e1-months", lambda *a: months(*a) / 12, "years"),
    ("e1-months", lambda *a: months(*a) * 30 / 31, "How many tokens"),
    ("e1-months", lambda *a: -months(*a), "number above 0"),
    ("e2-greedy", lambda *a: greedy(*a, window=lambda ids, T: ids), "outgrown"),
    ("e2-greedy", lambda *a: greedy(*a, window=lambda ids, T: ids[:, :T]), "are they the last `context_length`"),
    ("e2-greedy", lambda *a: greedy(*a, forgets=True), "keeps every token"),
    ("e2-greedy", lambda *a: greedy(*a, row=0), "Which row"),
    ("e2-greedy", lambda *a: greedy(*a, window=lambda ids, T: ids[:, -T + 1 :]), "are they the last"),
    ("e2-greedy", lambda m, x, n: greedy(m, x, n + 1), "one id per sequence"),
    ("e2-greedy", lambda m, x, n: (t for t in greedy(m, x, n)), "(generator)"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores), "0 / 0 is NaN"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores - scores.mean()), "none is above 0"),
    ("e3-probabilities", lambda *a: probs(*a, lambda scores: scores.clamp(-80, 80)), "differences of scores"),
    ("e3-probabilities", lambda h, w: torch.softmax(w @ h, 0), "softmax does it all"),
    ("e3-probabilities", lambda h, w: probs(h / h.norm(), w / w.norm(dim=1, keepdim=True)), "length included"),
    ("e3-probabilities", lambda h, w: probs(h, w)[:-1], "one probability per token"),
    ("e3-probabilities", lambda h, w: (w @ h).exp(), "sum to 1"),
    ("e3-probabilities", lambda h, w: (w @ h) / (w @ h).sum(), "dot product"),
    ("e4-entropy", lambda p: -(p * p.log()).sum(), "0 · ln 0"),
    ("e4-entropy", lambda p: entropy(p) / math.log(2), "bits"),
    ("e4-entropy", lambda p: entropy(p) / len(p), "summed over the tokens"),
    ("e4-entropy", lambda p: torch.special.entr(p), "expected one number, got tensor([0.3466, 0.3466]) (Tensor)"),
    ("e4-entropy", lambda p: -entropy(p), "-p ln p"),
    ("e5-best-option", lambda *a: option_scores(*a, of=torch.sum).argmax(), "what do you divide by"),
    ("e5-best-option", best_of_whole_texts, "Is the question scored too"),
    ("e5-best-option", best_without_question, "first token of an option"),
    ("e5-best-option", lambda *a: option_scores(*a).argmin(), "expected option"),
    ("e5-best-option", lambda *a: option_scores(*a), "one number"),
    ("e5-best-option", lambda *a: best_in_numpy(*a) + 0.5, "got 1.5"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
