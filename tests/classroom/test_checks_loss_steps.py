"""The checks of notebook 02: other right answers pass, planted mistakes do not."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from helpers.classroom import verdict
from helpers.gpt import loss
from tests import exercises


def windows_in_pairs(ids, B):
    T = (len(ids) - 1) // B
    rows = ids.unfold(0, T + 1, T)
    return rows[:, :-1], rows[:, 1:]


def best_of(temperatures, z, y):
    return min(temperatures, key=lambda tau: F.cross_entropy(z / tau, y).item())


PROBABILITIES = ("(log_sum - z.gather(-1, y[:, None]).squeeze(-1))", "-z.softmax(-1).gather(-1, y[:, None]).log()")
RIGHT_ANSWERS = {
    "l1-two-views": [
        lambda ids, B: [ids[:-1].reshape(B, -1), ids[1:].unflatten(0, (B, -1))],
        lambda ids, B: (ids.numpy()[:-1].reshape(B, -1), ids.numpy()[1:].reshape(B, -1)),
        windows_in_pairs,
        lambda ids, B: [ids.narrow(0, ahead, len(ids) - 1).view(B, -1) for ahead in (0, 1)],
        lambda ids, B: torch.as_strided(ids, (2, B, (len(ids) - 1) // B), (1, (len(ids) - 1) // B, 1)),
    ],
    "l4-stable-loss": [
        ("(z - m).exp().sum(-1).log()", "torch.from_numpy(np.log(np.exp((z - m).numpy()).sum(-1)))"),
        ("logits[scored]", "logits[scored].double()"),
        ("(z - m).exp().sum(-1).log()", "torch.tensor([math.log(sum(map(math.exp, x))) for x in (z - m).tolist()])"),
        ("(log_sum - z.gather(-1, y[:, None]).squeeze(-1))", "F.nll_loss(z - log_sum[:, None], y)"),
        ("z.gather(-1, y[:, None]).squeeze(-1)", "(z * F.one_hot(y, z.shape[1])).sum(1)"),
        ("m.squeeze(-1) + (z - m).exp().sum(-1).log()", "torch.tensor(np.logaddexp.reduce(z.numpy(), axis=-1))"),
    ],
    "l5-text-perplexity": [
        lambda batches: math.exp(torch.cat(batches).mean()),
        lambda batches: math.e ** (sum(float(x) for b in batches for x in b) / sum(len(b) for b in batches)),
        lambda batches: np.exp(np.mean(np.concatenate([b.numpy() for b in batches]))),
        lambda batches: sum(len(b) / sum(map(len, batches)) * b.mean() for b in batches if len(b)).exp(),
    ],
    "l5-bits-per-byte": [
        lambda nats, n, text: math.log2(math.e) * nats * n / len(bytes(text, "utf-8")),
        lambda nats, n, text: loss.bits_per_byte(nats, n, len(text.encode())),
        lambda nats, n, text: torch.tensor(nats * n) / math.log(2) / sum(len(c.encode()) for c in text),
        lambda nats, n, text: n * np.log2(np.exp(nats)) / np.frombuffer(text.encode(), dtype=np.uint8).size,
    ],
    "l6-overconfidence": [
        lambda p, y: np.mean([max(row) - (row[t] == max(row)) for row, t in zip(p.tolist(), y, strict=True)]),
        lambda p, y: p.amax(-1).mean() - (p.argmax(-1) == y).float().mean(),
        lambda p, y: np.mean(p.numpy().max(1)) - np.mean(p.numpy().argmax(1) == y.numpy()),
        lambda p, y: (p.topk(1).values - (p.topk(1).indices == y[:, None]).double()).mean(),
    ],
    "l6-best-temperature": [
        ("F.cross_entropy(math.exp(log_beta) * logits.double(), targets).item()",
         "-(math.exp(log_beta) * logits).log_softmax(-1).double()[torch.arange(len(targets)), targets].mean()"),
        lambda z, y: best_of([0.02 * 1.005**i for i in range(1700)], z, y),  # to about 96
        lambda z, y: minimize_scalar(lambda tau: F.cross_entropy(z.double() / tau, y).item(), bounds=(0.02, 50)).x,
    ],
}  # fmt: skip
MISTAKES = {
    "l1-two-views": {
        "targets should be": ("token_ids[1:]", "token_ids[:-1]"),
        "a view of token_ids": ("token_ids[:-1]", "token_ids[:-1].clone()"),
        "inputs should be": lambda right, *a: right(*a)[::-1],
        "in all": lambda _, ids, B: (ids[:-1].view(B, -1)[:, :-1], ids[:-1].view(B, -1)[:, 1:]),
        "expected a tensor (2, 3), got [7, ": lambda _, ids, B: (ids[:-1].tolist(), ids[1:].tolist()),
        "Is B the number of sequences": lambda _, ids, B: (ids[:-1].view(-1, B), ids[1:].view(-1, B)),
    },
    "l4-stable-loss": {
        "raised": ("targets != -100", "targets > -101"),
        "cross_entropy does it all": lambda _, z, y: F.cross_entropy(z, y),
        "log_softmax does it": lambda _, z, y: -z.log_softmax(-1).mean(),
        "Did p become 0": PROBABILITIES,
        "10,000 below the top-1": ("logits[scored]", "logits[scored].double()", *PROBABILITIES),
        "Is p clamped": lambda _, z, y: F.nll_loss(z.softmax(-1).clamp(min=1e-30).log(), y),
        "10,000 below": lambda _, z, y: F.nll_loss((z.double().softmax(-1) + 1e-300).log(), y),
        "small scores": lambda _, z, y: F.nll_loss(z - z.amax(-1, keepdim=True), y),
        "how many targets": lambda right, z, y: right(z, y) / math.log(2),
        "exponentials of a row": ("z.max(dim=-1, keepdim=True).values", "z.max()"),
        "scores near 10,000": ("logits[scored]", "logits[scored].clamp(-80, 80)"),
        "subtract from each row first": ("z.max(dim=-1, keepdim=True).values", "0 * z[:, :1]"),
        "a masked target": lambda right, z, y: right(z, y) * (y != -100).float().mean(),
        "one number": (".squeeze(-1)).mean()", ".squeeze(-1))"),
    },
    "l5-text-perplexity": {
        "in a short batch": lambda _, batches: math.exp(sum(b.mean() for b in batches) / len(batches)),
        "exponential come last": lambda _, batches: torch.cat(batches).exp().mean(),
        "as perplexity": lambda _, batches: torch.cat(batches).mean(),
    },
    "l5-bits-per-byte": {
        "letters or bytes": ('text.encode("utf-8")', "text"),
        "Nats or bits": (" / math.log(2)", ""),
        "in all": (" * n_tokens", ""),
    },
    "l6-overconfidence": {
        "expected +0.4": lambda right, *a: -right(*a),
        "top-1": ("confidence.double()", "probs.gather(-1, targets[:, None]).double()"),
        "how often": (" - accuracy", ""),
        "expected -0.4": lambda right, *a: abs(right(*a)),
    },
    "l6-best-temperature": {
        "divide the scores by it": lambda right, *a: 1 / right(*a),
        "reach so far": lambda _, z, y: best_of([0.1 * i for i in range(1, 30)], z, y),
        "to the left, or to the right": lambda _, z, y: best_of([0.5 * i for i in range(1, 60)], z, y),
        "expected": lambda *_: math.nan,
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_locked_functions_work_again_afterwards():
    for answer in (F.cross_entropy, exercises.solution("l4-stable-loss")):
        verdict("l4-stable-loss", answer)
    z, y = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    assert torch.isclose(F.cross_entropy(z, y), -z.log_softmax(-1)[0, 1])
    assert torch.isclose(torch.logsumexp(z, -1), z.logsumexp(-1)).all()
