"""The probabilities of the next token: by hand, against a slow oracle, against transformers, at the exact limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import keep_min_p, keep_top_k, keep_top_p, next_probs
from tests.support import refusals_by_field, refusals_of

LOGITS = torch.tensor([4.0, 3.0, 2.0, 1.0]).log()  # probabilities 0.4, 0.3, 0.2, 0.1


def probs(**settings) -> list[float]:
    return [round(p, 6) for p in next_probs(LOGITS, **settings).tolist()]


def test_by_hand():
    for settings, expected in (
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [p / 30 for p in (16, 9, 4, 1)]),  # squares, normalised
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.71}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_p": 0.39}, [1, 0, 0, 0]),
        ({"min_p": 0.51}, [4 / 7, 3 / 7, 0, 0]),
        ({"min_p": 1.0}, [1, 0, 0, 0]),
    ):
        assert probs(**settings) == [round(p, 6) for p in expected], settings


@pytest.mark.parametrize("filters_first", [True, False])
def test_limits_are_exact(filters_first):
    order = {"filters_first": filters_first}
    assert probs(temperature=0, **order) == [1, 0, 0, 0] == probs(temperature=1e-300, **order)
    assert probs(temperature=math.inf, **order) == [0.25] * 4 == probs(temperature=1e300, **order)
    assert probs(temperature=math.inf, top_k=2, **order) == [0.5, 0.5, 0, 0]
    assert probs(temperature=0, top_k=3, top_p=0.9, min_p=0.1, **order) == [1, 0, 0, 0]
    assert probs(top_k=4, top_p=1, min_p=1e-300, **order) == [0.4, 0.3, 0.2, 0.1]
    # uniform among the kept, and the kept are the limit's: with the temperature first, half of four equals is two
    kept = [0.5, 0.5, 0, 0] if filters_first else [round(1 / 3, 6)] * 3 + [0]
    assert probs(temperature=math.inf, top_p=0.7 if filters_first else 0.75, **order) == kept
    assert next_probs(torch.tensor([1.0, 7.0, 7.0, 7.0]), temperature=0, **order).tolist() == [0, 1, 0, 0]


def test_equals_go_by_id():
    equal = torch.zeros(2, 7)
    assert keep_top_k(equal, 3).tolist() == [[True] * 3 + [False] * 4] * 2
    assert keep_top_p(equal, 3 / 7).tolist() == [[True] * 3 + [False] * 4] * 2
    assert keep_min_p(equal, 1.0).all()
    some = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0])
    assert keep_top_k(some, 3).tolist() == [True, True, False, True, False]
    assert keep_top_p(torch.tensor([0.0, *[-60.0] * 9]), 1).all(), "1 keeps also what rounding would lose"
    assert keep_top_p(some.double(), 0.7).tolist() == keep_top_k(some, 2).tolist()


def oracle(logits: list[float], temperature, top_k, top_p, min_p, filters_first) -> list[float]:
    """Token by token over a sorted list."""

    def softmax(pairs, T):
        top = max(z for _, z in pairs)
        weights = {i: math.exp((z - top) / T) for i, z in pairs}
        return {i: w / sum(weights.values()) for i, w in weights.items()}

    T = 1.0 if filters_first else temperature
    kept = sorted(enumerate(logits), key=lambda pair: (-pair[1], pair[0]))
    kept = kept[: top_k or len(kept)]
    if top_p is not None:
        p, total, some = softmax(kept, T), 0.0, []
        for pair in kept:
            if total < top_p:
                some.append(pair)
            total += p[pair[0]]
        kept = some
    if min_p is not None:
        p = softmax(kept, T)
        kept = [pair for pair in kept if p[pair[0]] >= min_p * max(p.values())]
    final = softmax(kept, temperature)
    return [final.get(i, 0.0) for i in range(len(logits))]


@given(
    logits=st.lists(st.integers(-80, 80), min_size=1, max_size=13, unique=True),
    temperature=st.floats(0.05, 20),
    top_k=st.none() | st.integers(1, 13),
    top_p=st.none() | st.floats(0.01, 0.99),
    min_p=st.none() | st.floats(0.01, 0.99),
    filters_first=st.booleans(),
)
def test_equals_a_slow_oracle(logits, temperature, top_k, top_p, min_p, filters_first):
    scores = [z / 8 for z in logits]
    top_k = top_k and min(top_k, len(scores))
    settings = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, filters_first=filters_first)
    got = next_probs(torch.tensor(scores, dtype=torch.float64), **settings)
    assert got.tolist() == pytest.approx(oracle(scores, **settings), abs=1e-9)


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
@pytest.mark.parametrize(
    "settings", [{"temperature": 0.7}, {"top_k": 11}, {"top_p": 0.8}, {"min_p": 0.2}, {"top_k": 29, "top_p": 0.6}]
)
def test_equals_transformers_with_the_temperature_first(settings, penalty):
    from transformers.generation import logits_process as theirs

    torch.manual_seed(0)
    logits, ids = 3 * torch.randn(5, 53), torch.randint(53, (5, 17))
    settings = {"temperature": 1.9} | settings
    kinds = {
        "temperature": theirs.TemperatureLogitsWarper,
        "top_k": theirs.TopKLogitsWarper,
        "top_p": theirs.TopPLogitsWarper,
        "min_p": theirs.MinPLogitsWarper,
    }
    scores = logits
    for step in [theirs.RepetitionPenaltyLogitsProcessor(penalty), *(kinds[k](v) for k, v in settings.items())]:
        scores = step(ids, scores)
    seen = torch.zeros(5, 53, dtype=torch.bool).scatter(1, ids, True)
    got = next_probs(logits, seen, repetition_penalty=penalty, filters_first=False, **settings)
    torch.testing.assert_close(got, torch.softmax(scores, -1))


def test_keeps_shapes_and_forbidden_tokens_and_half_precision():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 11)
    logits[..., 4] = -math.inf
    for settings in ({}, {"top_k": 11}, {"top_p": 0.99}, {"min_p": 0.01}, {"temperature": math.inf, "top_k": 11}):
        for filters_first in (True, False):
            got = next_probs(logits, filters_first=filters_first, **settings)
            assert got.shape == logits.shape and got[..., 4].eq(0).all()
            torch.testing.assert_close(got.sum(-1), torch.ones(2, 3))
    assert next_probs(logits.bfloat16(), top_p=0.5).dtype == torch.float32
    rows = next_probs(logits, top_k=3, top_p=0.8, min_p=0.3, temperature=0.6)
    each = [next_probs(row, top_k=3, top_p=0.8, min_p=0.3, temperature=0.6) for row in logits.flatten(0, 1)]
    torch.testing.assert_close(rows.flatten(0, 1), torch.stack(each))


test_refuses_values = refusals_by_field(
    lambda **settings: next_probs(LOGITS, **settings), temperature=[-0.1, math.nan, True, 10**400],
    top_k=[0, 2.5, True, 5], top_p=[0, 1.01], min_p=[math.nan], repetition_penalty=[0, math.inf, 10**400],
)  # fmt: skip
test_refuses_settings = refusals_of(
    lambda settings: next_probs(LOGITS, **settings),
    ({"temperature": -0.1}, r"temperature must be in \[0, inf\], got -0.1"),
    ({"repetition_penalty": 1e-308, "seen": torch.ones(4) > 0}, "a score is inf"),
    ({"repetition_penalty": 1.2}, "needs `seen`"),
    ({"topk": 3}, "no sampling parameter named topk; there are temperature, top_k, top_p, min_p, "),
)


test_refuses_logits = refusals_of(
    lambda logits, seen: next_probs(logits, seen),
    (torch.tensor([1, 2]), None, "floating-point"),
    ([1.0, 2.0], None, "expected Tensor for logits, got list"),
    (torch.zeros(2), [True, False], "for seen, got list"),
    (torch.zeros(3, 0), None, "floating-point"),
    (torch.tensor([1.0, math.nan]), None, "a score is nan"),
    (torch.tensor([[1.0, 2.0], [-math.inf, -math.inf]]), None, "every token of a row is forbidden"),
    (torch.zeros(3), torch.zeros(2, dtype=torch.bool), r"shape \(3,\)"),
    (torch.zeros(3), torch.zeros(3), "bool"),
)
