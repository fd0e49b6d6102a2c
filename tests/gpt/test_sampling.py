"""The probabilities of the next token: by hand, against transformers, at the exact limits."""

import math
from fractions import Fraction

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from transformers.generation import logits_process

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
        ({"top_p": 0.5, "top_k": 2}, [1, 0, 0, 0]),  # each filter measures what the one before it left
        ({"min_p": 0.6, "top_p": 0.5}, [4 / 7, 3 / 7, 0, 0]),
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


WARPERS = {
    "temperature": logits_process.TemperatureLogitsWarper,
    "top_k": logits_process.TopKLogitsWarper,
    "top_p": logits_process.TopPLogitsWarper,
    "min_p": logits_process.MinPLogitsWarper,
}


@hypothesis.given(
    logits=st.lists(st.integers(-40, 40), min_size=1, max_size=53, unique=True),
    penalty=st.sampled_from([1.0, 1.3, 0.8]),
    temperature=st.floats(0.05, 20),
    top_k=st.none() | st.integers(1, 53),
    top_p=st.none() | st.floats(0.01, 0.99),
    min_p=st.none() | st.floats(0.01, 0.99),
    filters_first=st.booleans(),
)
@hypothesis.settings(deadline=None)
def test_equals_transformers_also_with_the_filters_first(logits, penalty, filters_first, top_k, **others):
    scores, ids = torch.tensor([logits], dtype=torch.float64) / 10, torch.arange(0, len(logits), 2)[None]
    chosen = {"top_k": top_k and min(top_k, len(logits))} | others
    order = ["top_k", "top_p", "min_p"]
    order.insert(3 if filters_first else 0, "temperature")
    steps = [WARPERS[name](chosen[name]) for name in order if chosen[name] is not None]
    expected = scores
    for step in [logits_process.RepetitionPenaltyLogitsProcessor(penalty), *steps]:
        expected = step(ids, expected)
    seen = torch.zeros_like(scores, dtype=torch.bool).scatter(1, ids, True)
    got = next_probs(scores, seen, repetition_penalty=penalty, filters_first=filters_first, **chosen)
    torch.testing.assert_close(got, torch.softmax(expected, -1))


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


def test_fractions_are_numbers():
    half = {"temperature": 0.5, "top_p": 0.5, "min_p": 0.5, "repetition_penalty": 1.5, "seen": LOGITS > 0}
    exact = {name: Fraction(value) if isinstance(value, float) else value for name, value in half.items()}
    assert torch.equal(next_probs(LOGITS, **exact), next_probs(LOGITS, **half))


test_refuses_values = refusals_by_field(
    lambda **settings: next_probs(LOGITS, **settings), temperature=[-0.1, math.nan, True, 10**400],
    top_k=[0, 2.5, True, 5], top_p=[0, 1.01], min_p=[math.nan], repetition_penalty=[0, math.inf, 10**400],
    filters_first=["False"],
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
