"""The checks of notebook 05: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

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


def temperature_by_torch(scores, T):
    if T < 0 or math.isnan(T):
        raise ValueError(f"temperature {T}")
    scores = torch.tensor(scores)
    if T == 0:
        return torch.nn.functional.one_hot(scores.argmax(), len(scores))
    return torch.softmax((scores - scores.max()) / T, dim=0)


def temperature_in_numpy(scores, T):
    if not 0 <= T <= np.inf:
        raise ValueError("in [0, inf], please")
    scores = np.asarray(scores)
    weights = np.exp((scores - scores.max()) / T) if T else np.arange(len(scores)) == scores.argmax()
    return weights / weights.sum()


def k_in_numpy(scores, k):
    kept = np.zeros(len(scores), dtype=bool)
    kept[np.argsort(-np.array(scores), kind="stable")[:k]] = True
    return kept


def p_in_numpy(probs, p):
    order = np.argsort(-np.array(probs), kind="stable")
    before = np.cumsum(np.array(probs)[order]) - np.array(probs)[order]
    kept = np.empty(len(probs), dtype=bool)
    kept[order] = before < p
    return kept


def written_with_while(choose, prompt, n_new, context_length, end_id):
    new = []
    while len(new) < n_new and (not new or new[-1] != end_id):
        new += [choose((prompt + new)[-context_length:])]
    return prompt + new


def written_in_tensors(choose, prompt, n_new, context_length, end_id):
    ids = torch.tensor(prompt)
    for _ in range(n_new):
        ids = torch.cat([ids, torch.tensor([choose(ids[-context_length:])])])
        if ids[-1] == end_id:
            return ids
    return ids


def step_by_sdpa(cache, query, key, value):
    cache["keys"].append(key)
    cache["values"].append(value)
    keys, values = torch.stack(cache["keys"])[None], torch.stack(cache["values"])[None]
    return torch.nn.functional.scaled_dot_product_attention(query[None, None], keys, values)[0, 0]


def missing_part(p, q):
    missing = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    return [m / sum(missing) for m in missing] if sum(missing) else list(p)


def rule(p, q, guess, *, keep=None, instead=missing_part):
    ratio = p[guess] / q[guess]
    return (min(1.0, ratio) if keep is None else keep(p, q, guess)), instead(p, q)


def not_divided(p, q):
    return [max(0.0, a - b) for a, b in zip(p, q, strict=True)]


def rule_in_tensors(p, q, guess):
    p, q = torch.tensor(p), torch.tensor(q)
    missing = F.relu(p - q)
    return (p / q)[guess].clamp(max=1), F.normalize(missing, p=1, dim=0) if missing.any() else p


def rule_in_numpy(p, q, guess):
    missing = np.array(p) - np.minimum(p, q)
    instead = missing / missing.sum() if missing.sum() else np.array(p)
    return np.array([min(p[guess], q[guess]) / q[guess]]), instead


RIGHT_ANSWERS = {
    "g1-temperature": [
        temperature_of,
        temperature_by_torch,
        temperature_in_numpy,
    ],
    "g2-top-k": [
        kept_k,
        k_in_numpy,
        lambda s, k: [sum(y > x or (y == x and j < i) for j, y in enumerate(s)) < k for i, x in enumerate(s)],
    ],
    "g2-top-p": [kept_p, p_in_numpy, lambda q, p: tuple(map(np.bool_, kept_p(q, p)))],
    "g4-loop": [written, written_with_while, written_in_tensors],
    "g4-cached-step": [step, step_by_sdpa, lambda cache, *a: step(cache, *(x.double() for x in a))],
    "g4-keep-or-reject": [rule, rule_in_tensors, rule_in_numpy],
}

MISTAKES = [
    ("g1-temperature", lambda s, T: temperature_of(s, T, scale=lambda x, T: x * T), "What is divided"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, shift=False), "OverflowError"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, limits=False), "ZeroDivisionError"),
    ("g1-temperature", lambda s, T: temperature_of(s, T, refuse=False), "turn the order around"),
    ("g1-temperature", lambda s, T: temperature_of(s, T)[:-1], "expected 5 probabilities, got 4 of them"),
    ("g1-temperature", lambda s, T: [1 / len(s)] * len(s) if T == 0 else temperature_of(s, T), "the first of the best"),
    ("g1-temperature", lambda s, T: max(temperature_of(s, T)), "expected 5 probabilities, got 0."),
    (
        "g1-temperature",
        lambda s, T: temperature_by_torch(s, T).tolist() if T else [float(x == max(s)) for x in s],
        "has it all",
    ),
    ("g2-top-k", lambda s, k: [x >= sorted(s)[-k] for x in s], "Exactly k stay"),
    ("g2-top-k", lambda s, k: kept_k(s[::-1], k)[::-1], "lower id"),
    ("g2-top-k", lambda s, k: sorted(s)[-k:], "order of the ids"),
    ("g2-top-k", lambda s, k: torch.topk(torch.tensor(s), k).indices, "(Tensor)"),
    ("g2-top-k", lambda s, k: (x for x in kept_k(s, k)), "(generator)"),
    ("g2-top-p", lambda q, p: kept_p(q, p, crossing=False), "reaches p"),
    ("g2-top-p", lambda q, p: kept_p(q, p, strict=True), "the next one"),
    ("g2-top-p", lambda q, p: kept_p(q, p, ranked=False), "From the likeliest down"),
    ("g2-top-p", lambda q, p: sorted(kept_p(q, p), reverse=True), "order of the ids"),
    ("g4-loop", lambda *a: written(*a, copy=False), "changed the caller's"),
    ("g4-loop", lambda *a: written(*a, window=False), "its context holds"),
    ("g4-loop", lambda *a: written(*a, stop=False), "end token belongs"),
    ("g4-loop", looks_at_the_prompt, "ends nothing"),
    ("g4-loop", lambda choose, prompt, *rest: written(choose, prompt, *rest)[len(prompt) :], "belongs to the text"),
    (
        "g4-loop",
        lambda choose, prompt, n, *rest: written(choose, prompt, n + 1, *rest),
        "n_new counts the new ids only",
    ),
    ("g4-loop", sees_the_prompt, "the *last* context_length ids of the text so far, [1, 2, 3]; it was given [1, 2]"),
    ("g4-loop", lambda *a: str(written(*a)), "as a list"),
    ("g4-loop", lambda choose, p, n, T, end: written(choose, p, n, T - 1, end), "it was given [3]"),
    ("g4-loop", lambda choose, p, n, T, end: written(lambda ids: choose(ids) + 1, p, n, T, end), "what `choose`"),
    ("g4-loop", lambda choose, p, n, T, end: written(choose, p, n - len(p), T, end), "n_new counts"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: D), "token 2 of 7: expected"),
    ("g4-cached-step", lambda *a: step(*a, root=lambda n, D: n**0.5), "head size"),
    ("g4-cached-step", lambda *a: step(*a, store="after"), "sees itself"),
    ("g4-cached-step", lambda cache, *a: step({k: v[:] for k, v in cache.items()}, *a), "should then hold 1"),
    ("g4-cached-step", lambda *a: step(*a)[None], "expected a tensor (3,)"),
    ("g4-cached-step", lambda cache, q, k, v: step(cache, q, v, k), "token 1 of 7: expected ["),
    ("g4-cached-step", lambda *a: step(*a).sum(), "expected a tensor (3,), got ()"),
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=lambda p, q: p), "missing to p"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: p[g] / q[g]), "in [0, 1], got 2.0"),
    ("g4-keep-or-reject", lambda *a: rule(*a, keep=lambda p, q, g: 0.0, instead=lambda p, q: p), "is possible"),
    ("g4-keep-or-reject", lambda *a: rule(*a, instead=not_divided), "sum to 1"),
    ("g4-keep-or-reject", lambda *a: rule(*a)[0], "expected 2 things (probability of keeping"),
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
