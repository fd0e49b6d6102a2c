"""The memory and the cost calculator without a browser: their first picture, their numbers, what they refuse."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from helpers.classroom import cards
from helpers.classroom.cards import _cost_calculator, _cost_state, _memory_calculator, _memory_forms
from helpers.classroom.cards._card import ASSETS, Card
from helpers.gpt import GPTConfig, preset
from helpers.labs import budget
from helpers.labs.budget import CHANGES, moments
from tests.cards import assert_carries_its_first_state

MAX_STATE_BYTES, MAX_PAGE_BYTES = 20_000, 36_000
GIB = 2**30
TINY = GPTConfig(vocab_size=101, context_length=70, emb_dim=24, n_heads=3, n_layers=2, drop_rate=0.1, ff_dim=53)
TIGHT = {"fused_attention": False, "chunked_loss": False, "kept_logits_for_evaluation": 30_000}


def state_of(card: Card, **moved: float) -> dict:
    return card.compute(card.values | moved, card.config)


@pytest.mark.parametrize("card", [cards.memory_calculator(), cards.cost_calculator()], ids=lambda card: card.kind)
def test_a_card_carries_its_first_state_and_is_small(card: Card) -> None:
    page = assert_carries_its_first_state(card)
    config = re.search(r'data-config="([^"]*)"', page)[1]
    assert len(config.encode()) < MAX_STATE_BYTES and len(page.encode()) < MAX_PAGE_BYTES and "%CARD%" not in page
    assert json.loads(html.unescape(config)) == json.loads(json.dumps(card.config))
    for name in re.findall(r'<select[^>]* id="([^"]+)"', page):
        assert f'for="{name}"' in page, "every menu has a visible label"
    shown = page[: page.index('<div class="cw-body" hidden="hidden">')]
    assert card.compute(card.values, card.config)["summary"] in html.unescape(shown)
    assert "<table>" in shown and "<input" not in shown, "the bars in characters, where styles are taken away"


def test_the_first_picture_is_the_prediction() -> None:
    card = cards.memory_calculator("gpt2-124m", 16, 1024, **TIGHT)
    predicted = budget.memory(preset("gpt2-124m", drop_rate=0.0), 16, 1024, **TIGHT, device="cuda")
    fit, state = budget.fits(predicted, budget.T4_BYTES), state_of(card)
    assert state["peak@data-bytes"] == str(predicted.peak_bytes) and state["peak"] in str(fit)
    assert state["verdict"] == "It does not fit" and state["sign"] == "✗" and "mc-bad" in state["frame@class"]
    shown = [k for k in range(len(CHANGES)) if state[f"alone{k}@data-bytes"]]
    assert [CHANGES[k][0] for k in shown] == [change.what for change in fit.changes]
    assert [state[f"alone{k}@data-bytes"] for k in shown] == [str(change.peak_bytes) for change in fit.changes]
    assert fit.together == ("chunked loss", "fused attention")
    assert state["enough"] == "✗ Change, the cheapest first: chunked loss, then fused attention. That is enough."
    assert state["then3"] == "✓ fits, 4 rows"
    assert repr(card).startswith("memory calculator: gpt2-124m, 16 rows of 1,024 tokens: does not fit, ")


def test_the_bars_are_the_parts_of_each_phase() -> None:
    card = cards.memory_calculator("gpt2-124m", 16, 1024, room="A100 40 GB", **TIGHT)
    predicted = budget.memory(preset("gpt2-124m", drop_rate=0.0), 16, 1024, **TIGHT, device="cuda")
    state, room = state_of(card), card.config["bytes"][card.values["room"]]
    for i, phase in enumerate(_memory_forms.PHASES):
        widths = [float(state[f"s{i}{j}@style"][6:-1]) for j in range(7)]
        held = predicted.phases[phase] + predicted.slack_bytes
        assert sum(widths) == pytest.approx(100 * held / room, abs=0.05)
        assert state[f"size{i}"] == budget.readable_bytes(held)
    assert predicted.phases == {name: sum(parts.values()) for name, parts in predicted.parts_by_phase().items()}
    assert state["limit@style"] == "left:100.00%" and state["verdict"] == "It fits"
    none_kept = state_of(card, kept=0)
    assert none_kept["size3"] == "–" and none_kept["s30@style"] == "width:0.00%"


@pytest.mark.parametrize("drop_rate", [0.0, 0.1])
def test_coefficients_give_every_moment_back(drop_rate: float) -> None:
    models = {"tiny": replace(TINY, drop_rate=drop_rate), "opt": preset("opt-125m"), "book": preset("book-124m")}
    found = _memory_forms.forms(models)
    settings = [[[*map(int, m.split(","))] for m in s.split(";")] for s in found["moments"].split("|")]
    for row, config in enumerate(models.values()):
        for setting, switch in zip(settings, _memory_forms.switches(), strict=True):
            for B, T in ((1, 1), (3, 17), (256, 1), (257, 1), (41, 70)):
                expected = moments(_memory_forms._run(config, B, T, **switch))
                for moment, (phase, *pairs) in zip(expected, setting, strict=True):
                    parts = dict.fromkeys(range(4), 0)
                    for slot, place in zip(pairs[::2], pairs[1::2], strict=True):
                        parts[slot // 5] += found["numbers"][row][place] * _memory_forms.monomials(B, T)[slot % 5]
                    assert _memory_forms.PHASES[phase] == moment.phase
                    assert [*parts.values()] == [getattr(moment, part) for part in _memory_forms.PARTS]


def test_what_is_no_sum_of_the_monomials_is_refused() -> None:
    values = np.array([[B * B] for B, _ in _memory_forms.POINTS], dtype=np.int64)
    with pytest.raises(ValueError, match="no sum of whole multiples"):
        _memory_forms.coefficients(values)


def test_activations_are_those_of_the_listed_tensors() -> None:
    for gradient_checkpointing in (False, True):
        for chunked in (False, True):
            predicted = budget.memory(TINY, 5, gradient_checkpointing=gradient_checkpointing, chunked_loss=chunked)
            listed = sum(t.n_bytes for t in predicted.tensors if t.name != "log-probabilities")
            assert predicted.activations_bytes == listed


def test_a_model_with_a_short_context_shortens_the_row_and_says_so() -> None:
    state = state_of(cards.memory_calculator(), model=0)
    assert state["tokens_text"] == "128 tokens, its longest" and "rows of 128 tokens" in state["summary"]
    own = cards.memory_calculator("mine", 7, 61, models={"mine": TINY}, rooms={"desk": GIB}, room="desk")
    predicted = budget.memory(TINY, 7, 61, device="cuda")
    assert state_of(own)["peak@data-bytes"] == str(predicted.peak_bytes) and own.config["context"] == [70]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "gpt5"}, "model must be one of course-small, .*, got 'gpt5'"),
        ({"batch_size": 0}, r"batch_size must be a whole number in \[1, 4096\], got 0"),
        ({"batch_size": True}, "batch_size"),
        ({"context_length": 2049}, r"context_length must be a whole number in \[1, 2048\], got 2049"),
        ({"precision": "float8"}, "precision must be one of float32"),
        ({"optimizer": "adam"}, "optimizer must be one of adamw"),
        ({"fused_attention": 1}, "fused attention must be True or False, got 1"),
        ({"kept_logits_for_evaluation": -1}, "kept_logits_for_evaluation"),
        ({"room": "V100"}, "room must be one of T4 16 GB"),
        ({"rooms": {}}, "rooms must have 1 to 6 names"),
        ({"rooms": {"T4 16 GB": 1.5}}, "must be a whole number of bytes"),
        ({"models": {"opt-125m": 3}}, "must be a GPTConfig"),
    ],
)
def test_the_memory_calculator_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cards.memory_calculator(**wrong)


def test_the_cost_s_first_picture_is_the_budget_s() -> None:
    card = cards.cost_calculator(54e6, 3000, 1.2, watts=70, speeds={"this machine": 1234.5})
    state, taken = state_of(card), budget.cost(54e6, 3000, 1.2, watts=70)  # five hours, six of money, 350 watt-hours
    assert float(state["time@data-hours"]) == taken.hours == 5
    assert float(state["cost@data-money"]) == taken.money == pytest.approx(6)
    assert float(state["energy@data-kwh"]) == taken.kwh and state["energy"] == "0.35 kWh"
    assert (state["verdict"], state["sessions"], state["cost"]) == ("Too long", "2 × 4.0 hours", "R$ 6.00")
    assert state["enough"] == (
        "✗ Change one: read at most 43.2 million tokens, or reach 3,750 tokens/s, 1.25 times this speed, "
        "or save, and go on over 2 sessions."
    )
    assert state["t1"] == "✗ 12 hours" and 1234.5 in card.config["stops"]["rate"]


@pytest.mark.parametrize(
    ("moved", "verdict", "way"),
    [
        ({}, "It fits", "✓ Nothing has to change: 3.0 hours and R$ 7.00 stay."),
        ({"hours_available": 0.5}, "Too long", "or save, and go on over 2 sessions."),
        ({"money_available": 1}, "Too expensive", "or pay at most R$ 1.00 an hour."),
        (
            {"hours_available": 0.5, "money_available": 1},
            "Too long and too expensive",
            "read at most 12 million tokens",
        ),
    ],
)
def test_time_and_money_run_out(moved: dict, verdict: str, way: str) -> None:
    card = cards.cost_calculator(36e6, 10_000, 3, **{"money_available": 10} | moved)
    state = state_of(card)
    assert state["verdict"] == verdict and way in state["enough"]
    assert ("bc-bad" in state["frame@class"]) == (state["sign"] == "✗") == (verdict != "It fits")


@pytest.mark.parametrize("name", ["n_tokens", "tokens_per_s", "price_per_hour"])
def test_what_it_says_to_change_is_just_enough(name: str) -> None:
    """Slow oracle: `budget.cost` of the changed run stands on the limit."""
    given = {"n_tokens": 2.5e9, "tokens_per_s": 12_525.0, "price_per_hour": 8.5}
    plan = _cost_state.Plan(*given.values(), None, 4.0, 200.0)
    tightest = min(plan.hours, plan.paid_hours)
    if name == "price_per_hour":
        given[name] = 200 / plan.cost.hours
        assert budget.cost(**given).money == pytest.approx(200)
        return
    of = {"n_tokens": _cost_state._tokens, "tokens_per_s": _cost_state._speed}
    assert budget.cost(**given | {name: of[name](plan, tightest)}).hours == pytest.approx(tightest)


def test_stops_are_round_and_hold_the_exact_numbers() -> None:
    stops = _cost_calculator.scale(_cost_calculator.PRICE, 2.345)
    assert stops[0] == 0.1 and stops[-1] == 1000 and 2.345 in stops and 1.5 in stops
    assert stops == sorted(set(stops)) and len(stops) == 4 * 24 + 2
    assert [*_cost_calculator.A100_SPEEDS.values()] == [12_525, 142_156]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_tokens": 1e5}, "n_tokens must be a number in .*, got 100000.0"),
        ({"tokens_per_s": float("nan")}, "tokens_per_s"),
        ({"price_per_hour": -1}, r"price_per_hour must be a number in \[0.1, 1000\] or 0, got -1"),
        ({"watts": 0}, r"watts must be a number in \[10, 1e\+06\] or None, got 0"),
        ({"hours_available": 0.1}, "hours_available"),
        ({"money_available": True}, "money_available"),
        ({"currency": ""}, "currency must be 1 to 6 characters"),
        ({"speeds": {"x" * 25: 1000}}, "1 to 24 characters"),
        ({"speeds": {"mine": 3}}, r"speeds\['mine'\]"),
        ({"speeds": dict.fromkeys("abcde", 1000)}, "at most 4, got 5"),
    ],
)
def test_the_cost_calculator_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cards.cost_calculator(**wrong)


def test_every_change_of_the_budget_has_its_twin() -> None:
    """memory.js makes the changes by their place."""
    assert [what for what, _, _ in CHANGES] == _memory_calculator.memory_calculator().config["changes"]
    script = (ASSETS / "memory.js").read_text(encoding="utf-8")
    assert script.partition("const CHANGES = [")[2].partition("\n];")[0].count("\n  (run") == len(CHANGES)
