"""The checks of notebook 05: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import torch

from tests import exercises


def temperature_of(scores, T, *, shift=True, scale=lambda x, T: x / T, refuse=True, limits=True, after=False):
    """A softmax at a temperature with its virtues as switches."""
    if refuse and not T >= 0:
        raise ValueError(T)
    if limits and T == 0:
        return [float(i == scores.index(max(scores))) for i in range(len(scores))]
    top = max(scores) if shift else 0.0
    weights = [math.exp(scale(x - top, T)) if not after else math.exp(x - top) / T for x in scores]
    return [w / sum(weights) for w in weights]


def kept_k(scores, k):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    return [i in order for i in range(len(scores))]


def kept_p(probs, p, *, crossing=True, strict=False, ranked=True):
    order, total = sorted(range(len(probs)), key=lambda i: (-probs[i], i)), 0.0
    kept = [False] * len(probs)
    for i in order if ranked else range(len(probs)):
        if (total > p) if strict else (total >= p):
            break
        total += probs[i]
        if crossing or total <= p:
            kept[i] = True
    return kept


def written(choose, prompt, n_new, context_length, end_id, *, copy=True, window=True, stop=True, keep_end=True):
    text = list(prompt) if copy else prompt
    for _ in range(n_new):
        new = choose(text[-context_length:] if window else list(text))
        if new == end_id and not keep_end:
            break
        text.append(new)
        if stop and new == end_id:
            break
    return text


def looks_at_the_prompt(choose, prompt, n_new, context_length, end_id):
    text = list(prompt)
    while len(text) < len(prompt) + n_new and end_id not in text:
        text.append(choose(text[-context_length:]))
    return text


def sees_the_prompt(choose, prompt, n_new, context_length, end_id):
    return written(lambda ids: choose(prompt[-context_length:]), prompt, n_new, context_length, end_id)


def step(cache, query, key, value, *, root=lambda n, D: D**0.5, store="before"):
    if store == "before":
        cache["keys"].append(key)
        cache["values"].append(value)
    keys, values = list(cache["keys"]) or [key], list(cache["values"]) or [value]
    weights = torch.softmax(torch.stack(keys) @ query / root(len(keys), len(query)), 0)
    if store == "after":
        cache["keys"].append(key)
        cache["values"].append(value)
    return weights @ torch.stack(values)


RIGHT_ANSWERS = {
    "g1-temperature": temperature_of,
    "g2-top-k": kept_k,
    "g2-top-p": kept_p,
    "g4-loop": written,
    "g4-cached-step": step,
}

MISTAKES = [
    ("g1-temperature", lambda s, T: temperature_of(s, T, scale=lambda x, T: x * T), "What is divided"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, after=T > 0), "What is divided"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, shift=False), "OverflowError"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, limits=False), "ZeroDivisionError"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, refuse=False), "turn the order around"),
    ("g1-temperature", lambda s, T: temperature_of(s, T)[:-1], "a list of 5 probabilities, got 4 of them"),
    ("g2-top-k", lambda s, k: [x >= sorted(s)[-k] for x in s], "Exactly k stay"),
    ("g2-top-k", lambda s, k: kept_k(s[::-1], k)[::-1], "lower id"),
    ("g2-top-k", lambda s, k: sorted(s)[-k:], "order of the ids"),
    ("g2-top-p", lambda q, p: kept_p(q, p, crossing=False), "reaches p"),
    ("g2-top-p", lambda q, p: kept_p(q, p, strict=True), "the next one"),
    ("g2-top-p", lambda q, p: kept_p(q, p, ranked=False), "From the likeliest down"),
    ("g2-top-p", lambda q, p: sorted(kept_p(q, p), reverse=True), "order of the ids"),
    ("g4-loop", lambda *a: written(*a, copy=False), "changed the caller's"),
    ("g4-loop", lambda *a: written(*a, window=False), "its context holds"),
    ("g4-loop", lambda *a: written(*a, stop=False), "end token belongs"),
    ("g4-loop", lambda *a: written(*a, keep_end=False), "end token belongs"),
    ("g4-loop", looks_at_the_prompt, "ends nothing"),
    ("g4-loop", lambda choose, prompt, *rest: written(choose, prompt, *rest)[len(prompt) :], "belongs to the text"),
    (
        "g4-loop",
        lambda choose, prompt, n, *rest: written(choose, prompt, n + 1, *rest),
        "n_new counts the new ids only",
    ),
    ("g4-loop", sees_the_prompt, "the *last* context_length ids of the text so far, [1, 2, 3]; it was given [1, 2]"),
    ("g4-loop", lambda *a: tuple(written(*a)), "as a list"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: D), "token 2 of 7: expected"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: n**0.5), "head size"),
    ("g4-cached-step", lambda *a: step(*a, store="after"), "sees itself"),
    ("g4-cached-step", lambda cache, *a: step({k: v[:] for k, v in cache.items()}, *a), "should then hold 1"),
    ("g4-cached-step", lambda *a: step(*a)[None], "expected a tensor (3,)"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_the_suspect_of_exercise_5_is_right_where_its_hint_says_and_nowhere_else():
    """As many tokens as the head has numbers: there, besides at the first token, both roots are the same."""
    for D in (2, 3, 4):
        wrong, right, same = {"keys": [], "values": []}, {"keys": [], "values": []}, []
        for t in range(1, 7):
            token = torch.randn(3, D)
            by_count = step(wrong, *token, root=lambda n, D: n**0.5)
            same += [t] * torch.allclose(by_count, step(right, *token), atol=1e-5)
        assert same == [1, D]
