"""The check of notebook 01's last exercise: an option is scored by its mean log-probability after the question."""

from __future__ import annotations

import torch

from tests import exercises


def scores(model, question, options, *, skip=0, of=torch.mean):
    found = []
    for option in options:
        text = torch.cat([question, option])
        logs = model(text[None, :-1])[0].log_softmax(-1).gather(-1, text[1:, None])[:, 0]
        found.append(of(logs[len(question) - 1 + skip :]))
    return torch.stack(found)


def whole_text(model, question, options):
    texts = [torch.cat([question, option]) for option in options]
    logs = [model(t[None, :-1])[0].log_softmax(-1).gather(-1, t[1:, None]) for t in texts]
    return torch.stack([each.mean() for each in logs]).argmax()


def without_question(model, question, options):
    return scores(model, question[:1] * 0, options).argmax()


def shifted(model, question, options):
    found = []
    for option in options:
        logs = model(torch.cat([question, option])[None])[0, len(question) :].log_softmax(-1)
        found.append(logs.gather(-1, option[:, None]).mean())
    return torch.stack(found).argmax()


RIGHT_ANSWERS = {"e5-best-option": lambda *a: scores(*a).argmax().item()}
MISTAKES = [
    ("e5-best-option", lambda *a: scores(*a, of=torch.sum).argmax(), "what do you divide by"),
    ("e5-best-option", whole_text, "Is the question scored too"),
    ("e5-best-option", without_question, "first token of an option"),
    ("e5-best-option", shifted, "first token of an option"),
    ("e5-best-option", lambda *a: scores(*a).argmin(), "expected option"),
    ("e5-best-option", lambda *a: scores(*a), "one number"),
]

test_check = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
