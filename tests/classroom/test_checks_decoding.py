"""The checks of notebook 05: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.classroom import verdict
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


def all_of_the_best(scores, T):
    best = max(scores)
    return [(x == best) / scores.count(best) for x in scores] if T == 0 else temperature_of(scores, T)


def kept_k(scores, k):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    return [i in order for i in range(len(scores))]


def at_least_kth(scores, k):
    return [x >= sorted(scores)[-k] for x in scores]


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


def asks_before_it_writes(choose, prompt, n_new, context_length, end_id):
    text = list(prompt)
    for _ in range(n_new):
        if text[-1] == end_id:
            break
        text.append(choose(text[-context_length:]))
    return text


def looks_at_the_prompt(choose, prompt, n_new, context_length, end_id):
    text = list(prompt)
    while len(text) < len(prompt) + n_new and end_id not in text:
        text.append(choose(text[-context_length:]))
    return text


def only_new(choose, prompt, *rest):
    return written(choose, prompt, *rest)[len(prompt) :]


def counts_the_prompt(choose, prompt, n_new, context_length, end_id):
    return written(choose, prompt, max(0, n_new - len(prompt)), context_length, end_id)


def one_too_many(choose, prompt, n_new, *rest):
    return written(choose, prompt, n_new + 1, *rest)


def sees_the_beginning(choose, prompt, n_new, context_length, end_id):
    return written(lambda ids: choose(ids[:context_length]), prompt, n_new, 1000, end_id)


def sees_the_prompt(choose, prompt, n_new, context_length, end_id):
    return written(lambda ids: choose(prompt[-context_length:]), prompt, n_new, context_length, end_id)


def sees_one(choose, prompt, n_new, context_length, end_id):
    return written(choose, prompt, n_new, 1, end_id)


def adds_one(choose, prompt, n_new, context_length, end_id):
    text = written(choose, prompt, n_new, context_length, end_id)
    return [*text[:-1], text[-1] + 1]


def refuses_infinity(scores, T):
    if math.isinf(T):
        raise ValueError("x")
    return temperature_of(scores, T)


def fails_below_zero(scores, T):
    return temperature_of(scores, T) if T >= 0 else [][0]


def cuts_afterwards(choose, prompt, n_new, context_length, end_id):
    text = written(choose, prompt, n_new, context_length, end_id, stop=False)
    new = text[len(prompt) :]
    return prompt + (new[: new.index(end_id) + 1] if end_id in new else new)


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


def forgets(cache, query, key, value):
    return step({"keys": list(cache["keys"]), "values": list(cache["values"])}, query, key, value)


def keeps_the_query(cache, query, key, value):
    return step(cache, query, query, value)


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
    ("g1-temperature", refuses_infinity, "temperature inf: your function raised ValueError: x"),
    ("g1-temperature", fails_below_zero, "temperature -1.0: expected a ValueError, got IndexError"),
    ("g1-temperature", all_of_the_best, "the first of the best"),
    ("g2-top-k", at_least_kth, "Exactly k stay"),
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
    ("g4-loop", asks_before_it_writes, "ends nothing"),
    ("g4-loop", only_new, "The prompt belongs to the text"),
    ("g4-loop", counts_the_prompt, "n_new counts the new ids only"),
    ("g4-loop", one_too_many, "n_new counts the new ids only"),
    ("g4-loop", sees_the_beginning, "the *last* context_length ids"),
    ("g4-loop", sees_the_prompt, "the *last* context_length ids of the text so far, [1, 2, 3]; it was given [1, 2]"),
    ("g4-loop", adds_one, "what `choose` returned"),
    ("g4-loop", lambda *a: tuple(written(*a)), "as a list"),
    ("g4-loop", cuts_afterwards, "calls of the model"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: D), "token 2 of 7: expected"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: n**0.5), "head size"),
    ("g4-cached-step", lambda *a: step(*a, store="after"), "sees itself"),
    ("g4-cached-step", forgets, "should then hold 1"),
    ("g4-cached-step", keeps_the_query, "token 2 of 7"),
    ("g4-cached-step", lambda *a: step(*a)[None], "expected a tensor (3,)"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


@pytest.mark.parametrize("answer", [only_new, counts_the_prompt, sees_the_beginning, sees_one, adds_one])
def test_of_an_end_token_is_spoken_only_where_there_is_one(answer):
    assert "end token" not in verdict("g4-loop", answer)


def test_the_suspect_of_exercise_5_is_right_where_its_hint_says_and_nowhere_else():
    """As many tokens as the head has numbers: there, besides at the first token, both roots are the same."""
    generator = torch.Generator().manual_seed(0)
    for D in (2, 3, 4):
        wrong, right, same = {"keys": [], "values": []}, {"keys": [], "values": []}, []
        for _ in range(6):
            query, key, value = torch.randn(3, D, generator=generator)
            same.append(
                torch.allclose(
                    step(wrong, query, key, value, root=lambda n, D: n**0.5), step(right, query, key, value), atol=1e-5
                )
            )
        assert [t + 1 for t in range(6) if same[t]] == [1, D]
