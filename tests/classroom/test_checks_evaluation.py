"""The checks of notebook 01: other right answers pass, planted mistakes are caught with a sentence that leads on."""

import math
from datetime import timedelta
from fractions import Fraction

import scipy
import torch

from tests import exercises


def best_in_one_batch(model, question, options):
    """Rows filled up on the right: what is behind a token has no influence on its row."""
    texts = torch.nn.utils.rnn.pad_sequence([torch.cat([question, o]) for o in options], batch_first=True)
    lengths = torch.tensor([len(o) for o in options])
    logs = model(texts)[:, :-1].log_softmax(-1).gather(-1, texts[:, 1:, None])[..., 0][:, len(question) - 1 :]
    kept = torch.arange(logs.shape[1]) < lengths[:, None]
    return ((logs * kept).sum(1) / lengths).argmax()


RIGHT_ANSWERS = {
    "e1-months": [
        lambda n, B, T, ms: timedelta(milliseconds=ms * n / B / T) / timedelta(days=30),
        lambda n, B, T, ms: n / (B * T) / (30 * 24 * 3_600_000 / ms),
        lambda n, B, T, ms: torch.tensor([n / (B * T) * ms / 2.592e9]),
        lambda n, B, T, ms: Fraction(n) * Fraction(ms) / (B * T * 1000 * 60 * 60 * 24 * 30),
    ],
    "e2-greedy": [
        ("logits[:, -1].argmax(-1, keepdim=True)", "torch.from_numpy(logits.numpy()[:, -1].argmax(-1)[:, None])"),
        ("torch.cat([token_ids, next_id], dim=1)", "torch.hstack([token_ids, logits[:, -1].topk(1).indices])"),
        ("logits[:, -1].argmax(-1, keepdim=True)", "torch.tensor([[z.index(max(z))] for z in logits[:, -1].tolist()])"),
        ("torch.cat([token_ids, next_id], dim=1)", "F.pad(token_ids, (0, 1))\n        token_ids[:, -1:] = next_id"),
    ],
    "e3-probabilities": [
        lambda h, w: w.matmul(h).sub(w.matmul(h).logsumexp(0)).exp(),
        lambda h, w: 1 / ((w @ h)[None] - (w @ h)[:, None]).clamp(max=80).exp().sum(1),
        ("unembedding @ hidden", "torch.stack([sum(a * b for a, b in zip(row, hidden)) for row in unembedding])"),
        ("weights = (scores - scores.max()).exp()", "weights = np.exp(scores.numpy() - np.max(scores.numpy()))"),
    ],
    "e4-entropy": [
        lambda p: -sum(q * math.log(q) for q in p.tolist() if q),
        lambda p: torch.distributions.Categorical(p).entropy(),
        lambda p: (p * -(p + 1e-12).log()).sum(),
        lambda p: -torch.xlogy(p, p).sum(),
        lambda p: -(p * p.log()).nan_to_num().sum(),
        lambda p: scipy.stats.entropy(p),
    ],
    "e5-best-option": [
        best_in_one_batch,
        ("of_next[-len(option) :].mean().item()", "of_next.numpy()[len(question) - 1 :].mean()"),
        ("log_probs.gather(-1, ids[1:, None])[:, 0]", "-F.cross_entropy(log_probs, ids[1:], reduction='none')"),
    ],
}
MISTAKES = {
    "e1-months": {
        "milliseconds": ("step_ms / 1000", "step_ms"),
        "days": ("30 * 24 * 3600", "24 * 3600"),
        "hours": ("30 * 24 * 3600", "3600"),
        "years": ("30 * 24", "360 * 24"),
        "How many tokens": ("30 * 24", "31 * 24"),
        "number above 0": lambda right, *a: -right(*a),
    },
    "e2-greedy": {
        "outgrown": ("token_ids[:, -model.config.context_length :]", "token_ids"),
        "are they the last `context_length`": ("-model.config.context_length :", ": model.config.context_length"),
        "are they the last": ("-model.config.context_length", "1 - model.config.context_length"),
        "keeps every token": ("[token_ids, next_id]", "[token_ids[:, -model.config.context_length :], next_id]"),
        "Which row": ("logits[:, -1]", "logits[:, 0]"),
        "one id per sequence": lambda right, model, token_ids, n_new: right(model, token_ids, n_new + 1),
    },
    "e3-probabilities": {
        "0 / 0 is NaN": (" - scores.max()", ""),
        "none is above 0": ("scores.max()", "scores.mean()"),
        "differences of scores": ("(scores - scores.max())", "scores.clamp(-80, 80)"),
        "softmax does it all": lambda _, h, w: torch.softmax(w @ h, 0),
        "softmax does it all for you": lambda _, h, w: (w @ h).double().softmax(0),
        "length included": lambda right, h, w: right(h / h.norm(), w / w.norm(dim=1, keepdim=True)),
        "one probability per token": lambda right, *a: right(*a)[:-1],
        "sum to 1": ("weights / weights.sum()", "scores.exp()"),
        "dot product": ("weights / weights.sum()", "scores / scores.sum()"),
    },
    "e4-entropy": {
        "0 · ln 0": ("probs[probs > 0]", "probs"),
        "bits": ("possible.log()", "possible.log2()"),
        "summed over the tokens": lambda right, p: right(p) / len(p),
        "-p ln p": ("float(-(", "float(+("),
    },
    "e5-best-option": {
        "what do you divide by": (".mean()", ".sum()"),
        "Is the question scored too": ("of_next[-len(option) :]", "of_next"),
        "first token of an option": lambda right, model, question, options: right(model, question[:1] * 0, options),
        "expected option": ("max(means)", "min(means)"),
        "got 1.5": lambda right, *a: right(*a) + 0.5,
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
