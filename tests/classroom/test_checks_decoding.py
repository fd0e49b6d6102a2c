"""The checks of notebook 05: other right answers pass, planted mistakes do not."""

import heapq

import torch
import torch.nn.functional as F

from tests import exercises


def written_with_while(choose, prompt, n_new, context_length, end_id):
    new = []
    while len(new) < n_new and (not new or new[-1] != end_id):
        new += [choose((prompt + new)[-context_length:])]
    return prompt + new


def rule_in_tensors(p, q, guess):
    p, q = torch.tensor(p), torch.tensor(q)
    missing = F.relu(p - q)
    return (p / q)[guess].clamp(max=1), F.normalize(missing, p=1, dim=0) if missing.any() else p


RANKED = "sorted(range(len(probs)), key=lambda i: -probs[i])"
WEIGHTS = """weights = [math.exp((score - max(scores)) / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]"""
SOFTMAX = "weights = torch.softmax(keys @ query / len(query) ** 0.5, dim=0)\n    return weights @ values"
RIGHT_ANSWERS = {
    "g1-temperature": [
        (WEIGHTS, "return torch.softmax((torch.tensor(scores) - max(scores)) / temperature, 0)"),
        ("float(i == best)", "i == best"),
        ("math.exp((score - max(scores)) / temperature)", "math.exp(score - max(scores)) ** (1 / temperature)"),
        (WEIGHTS, "scores = np.array(scores) / temperature\n    return np.exp(scores - np.logaddexp.reduce(scores))"),
    ],
    "g2-top-k": [
        ("sorted(range(len(scores)), key=lambda i: -scores[i])", 'np.argsort(-np.array(scores), kind="stable")'),
        lambda s, k: [sum(y > x or (y == x and j < i) for j, y in enumerate(s)) < k for i, x in enumerate(s)],
        lambda s, k: [i in heapq.nlargest(k, range(len(s)), key=s.__getitem__) for i in range(len(s))],
    ],
    "g2-top-p": [
        (RANKED, 'np.argsort(-np.array(probs), kind="stable")'),
        lambda q, p: [sum(y for j, y in enumerate(q) if (-y, j) < (-x, i)) < p for i, x in enumerate(q)],
        (f"in {RANKED}", f"in {RANKED}[: 1 + np.searchsorted(np.cumsum(sorted(probs)[::-1]), p)]",
         "        if held >= p:\n            break\n", ""),
    ],
    "g4-loop": [
        written_with_while,
        ("list(prompt)", "torch.tensor(prompt)", "text.append(choose(text[-context_length:]))",
         "text = torch.cat([text, torch.tensor([choose(text[-context_length:])])])"),
    ],
    "g4-cached-step": [
        (SOFTMAX, "return F.scaled_dot_product_attention(query[None, None], keys[None], values[None])[0, 0]"),
        ("keys @ query", "keys.double() @ query.double()", "weights @ values", "weights @ values.double()"),
        ("keys @ query", 'torch.stack([one @ query for one in cache["keys"]])',
         "weights @ values", "sum(weight * one for weight, one in zip(weights, values))"),
    ],
    "g4-keep-or-reject": [
        rule_in_tensors,
        ("[m / total for m in missing]", "np.array(missing) / total"),
        ("min(1.0, p[guess] / q[guess])", "1.0 if q[guess] <= p[guess] else p[guess] / q[guess]"),
        ("sum(missing)", "1 - sum(map(min, p, q))"),
    ],
}  # fmt: skip
KEPT = "kept[i] = True\n        held += probs[i]"
STACKED = 'torch.stack(cache["keys"]), torch.stack(cache["values"])'
BEFORE = 'torch.stack(cache["keys"][:-1] or [key]), torch.stack(cache["values"][:-1] or [value])'
MISTAKES = {
    "g1-temperature": {
        "What is divided": (" / temperature)", " * temperature)"),
        "OverflowError": (" - max(scores)", ""),
        "ZeroDivisionError": ("if temperature == 0", "if False"),
        "turn the order around": ("if not temperature >= 0", "if False"),
        "the first of the best": lambda right, s, T: right(s, T) if T else [1 / len(s)] * len(s),
        "has it all": ("float(i == best) for i in range(len(scores))", "float(x == max(scores)) for x in scores"),
    },
    "g2-top-k": {
        "Exactly k stay": lambda _, s, k: [x >= sorted(s)[-k] for x in s],
        "lower id": lambda right, s, k: right(s[::-1], k)[::-1],
        "order of the ids": lambda _, s, k: sorted(s)[-k:],
        "(Tensor)": lambda _, s, k: torch.topk(torch.tensor(s), k).indices,
    },
    "g2-top-p": {
        "reaches p": (KEPT, "held += probs[i]\n        kept[i] = held <= p"),
        "the next one": ("held >= p", "held > p"),
        "From the top-1 token down": (RANKED, "range(len(probs))"),
        "order of the ids": lambda right, *a: sorted(right(*a), reverse=True),
    },
    "g4-loop": {
        "changed the caller's": ("list(prompt)", "prompt"),
        "its context holds": ("text[-context_length:]", "list(text)"),
        "end token belongs": ("if text[-1] == end_id", "if False"),
        "ends nothing": ("for _ in range(n_new)", "while len(text) < len(prompt) + n_new and end_id not in text"),
        "belongs to the text": lambda right, choose, prompt, *a: right(choose, prompt, *a)[len(prompt) :],
        "n_new counts the new ids only": lambda right, choose, prompt, n_new, *a: right(choose, prompt, n_new + 1, *a),
        "the *last* context_length ids of the text so far, [1, 2, 3]; it was given [1, 2]": (
            "choose(text",
            "choose(prompt",
        ),
        "it was given [3]": lambda right, choose, prompt, n, T, end: right(choose, prompt, n, T - 1, end),
        "what `choose`": lambda right, choose, *a: right(lambda ids: choose(ids) + 1, *a),
        "n_new counts": lambda right, choose, prompt, n, *a: right(choose, prompt, n - len(prompt), *a),
    },
    "g4-cached-step": {
        "token 2 of 7: expected": (" ** 0.5", ""),
        "head size": ("len(query)", "len(keys)"),
        "sees itself": (STACKED, BEFORE),
        "should then hold 1": lambda right, cache, *a: right({k: v[:] for k, v in cache.items()}, *a),
        "expected a tensor (3,)": lambda right, *a: right(*a)[None],
        "token 1 of 7: expected [": lambda right, cache, query, key, value: right(cache, query, value, key),
    },
    "g4-keep-or-reject": {
        "missing to p": ("[m / total for m in missing] if total > 0 else list(p)", "p"),
        "in [0, 1], got 2.0": ("min(1.0, p[guess] / q[guess])", "p[guess] / q[guess]"),
        "probability 0.7500, got 0.0000": lambda _, p, q, guess: (0.0, p),
        "sum to 1": ("m / total for", "m for"),
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_the_function_under_study_of_exercise_5_is_right_where_its_hint_says_and_nowhere_else():
    """As many tokens as the head has numbers: there, besides at the first token, both roots are the same."""
    right, by_count = (exercises.solution("g4-cached-step", *edit) for edit in ((), ("len(query)", "len(keys)")))
    for D in (2, 3, 4):
        caches, same = [{"keys": [], "values": []} for _ in range(2)], []
        for t in range(1, 7):
            token = torch.randn(3, D)
            same += [t] * torch.allclose(by_count(caches[0], *token), right(caches[1], *token), atol=1e-5)
        assert same == [1, D]
