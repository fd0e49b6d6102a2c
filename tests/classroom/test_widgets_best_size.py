"""The card of the best size without a browser: its script against `helpers.labs.scaling`."""

import re
from dataclasses import replace

import pytest

from helpers.classroom import cards
from helpers.labs import budget, scaling
from tests.cards import first_positions, script
from tests.support import refusals_of

OURS = scaling.Law("power of sum", 3.05, 0.05, 0.5, 2e4, 1.0, 0.45)
DRAWN = [OURS, *(replace(OURS, a=0.5 + 0.002 * i, B=2e4 + 300 * (i % 7)) for i in range(-20, 21))]


def test_sizes_and_tokens_are_those_of_the_laws_at_every_stop() -> None:
    card, js = cards.best_size(1.9e17, scaling.PUBLISHED | {"ours": OURS}), script("size")
    laws = [*scaling.PUBLISHED.values(), OURS]
    stops = js.call("(scale) => [...Array(385).keys()].map((i) => valueAt(i, scale))", card.config["flops"])
    assert (stops[0], stops[-1]) == (1e10, 1e26) and 1.9e17 in stops and sorted(stops) == stops
    for flops, state in zip(stops, js.states([{"flops": i} for i in range(385)], card.config), strict=True):
        plans = [scaling.rule_of_thumb(flops), *(scaling.best_plan(law, flops) for law in laws)]
        found = js.call("sizes", flops, card.config["laws"])
        assert [n for n, low, high in found.values()] == pytest.approx([plan.n_params for plan in plans], rel=1e-4)
        assert state["flops_text"] == f"{flops:.2e} FLOPs"
        assert state["n0"] == budget.readable_count(plans[0].n_params) and state["r0"] == "20"
        for i, plan in enumerate(plans):
            ratio = float(re.sub(r"[^\d.]", "", state[f"r{i}"])) if " " not in state[f"r{i}"] else None
            assert ratio is None or ratio == pytest.approx(plan.tokens_per_param, rel=6e-3)


def test_the_interval_is_that_of_the_draws() -> None:
    card, js = cards.best_size(1e12, {"ours": DRAWN}), script("size")
    low, high = scaling.interval([scaling.best_plan(law, 1e12).n_params for law in DRAWN[1:]])
    assert js.call("sizes", 1e12, card.config["laws"])["ours"][1:] == pytest.approx([low, high], rel=1e-4)
    (state,) = js.states([first_positions(card)], card.config)
    best = scaling.best_plan(OURS, 1e12)
    told = " to ".join(budget.readable_count(n) for n in (low, high))
    assert state["n1"] == f"{budget.readable_count(best.n_params)} ({told})"
    assert float(state["bar1@x1"]) < float(state["dot1@cx"]) < float(state["bar1@x2"])
    assert card.table[2][0] == "ours" and card.table[2][1] == budget.readable_count(best.n_params)


def test_a_button_goes_to_its_budget() -> None:
    card, js = cards.best_size(1e12, budgets={"T4, 4 hours": 1.9e17}), script("size")
    page = js.call("view", "x-1", card.values, card.config)
    position = int(re.search(r"data-set='\{\"flops\":(\d+)\}'>T4, 4 hours", page)[1])
    assert js.call("valueAt", position, card.config["flops"]) == pytest.approx(1.9e17, rel=0.06)


test_what_the_card_refuses = refusals_of(
    lambda given: cards.best_size(**given),
    ({"flops": 1e9}, "within the slider's range, 1e10 to 1e26, got 1000000000.0"),
    ({"budgets": {"much": 1e27}}, "within the slider's range"),
    ({"laws": dict.fromkeys("abcde", OURS)}, "at most 4 laws"),
    ({"laws": {"": OURS}}, "1 to 28 characters"),
    ({"laws": {"few": DRAWN[:5]}}, "few: an interval needs the law and 20 draws or more, got 5"),
    ({"laws": {"product": replace(OURS, form="product")}}, "a product has no best size"),
)
