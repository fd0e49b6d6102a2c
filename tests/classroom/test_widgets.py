"""The widgets' arithmetic and first state, without a browser; tests/browser compares the scripts with these."""

from __future__ import annotations

import html
import json
import math
import re
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.classroom.cards import _card, _cost, _die, _predictors, _stepper
from helpers.gpt import gpt2, six_steps
from tests.cards import assert_carries_its_first_state

MAX_BYTES = 24_000


def random_model(token_ids: Tensor) -> Tensor:  # a stateless model of 50,257 scores that depend on the token only
    generator = torch.Generator().manual_seed(5)
    table = torch.randn(7, 50257, generator=generator)
    return table[token_ids % 7]


def all_cards() -> list[_card.Card]:
    return [cards.cost(), cards.perplexity_die(), cards.unsure_or_wrong()]


@pytest.mark.parametrize("card", all_cards(), ids=lambda card: card.kind)
def test_a_card_carries_its_whole_first_state(card: _card.Card) -> None:
    page = assert_carries_its_first_state(card)
    assert "%CARD%" not in page and len(page.encode()) < MAX_BYTES


@pytest.mark.parametrize("card", all_cards(), ids=lambda card: card.kind)
def test_without_script_and_style_the_sentence_remains(card: _card.Card) -> None:
    page = card.markup("x-1")
    shown = page[: page.index('<div class="cw-body" hidden="hidden">')]
    assert card.compute(card.values, card.config)["summary"] in html.unescape(shown)
    assert "<svg" not in shown and "<input" not in shown
    assert repr(card).endswith(".") or card.kind in repr(card)


def test_ids_count_and_never_repeat() -> None:
    card = cards.cost()
    first, second = (re.search(r'id="(cost-\d+)"', card._repr_html_())[1] for _ in range(2))
    assert int(second.removeprefix("cost-")) == int(first.removeprefix("cost-")) + 1
    assert card.markup("same") == cards.cost().markup("same")


def test_fill_refuses_a_key_without_element() -> None:
    assert (
        _card.fill('<b data-key="a"></b>', {"a": "<x>", "a@title": '"'})
        == '<b data-key="a" title="&quot;">&lt;x&gt;</b>'
    )
    with pytest.raises(ValueError, match="no element carries data-key b"):
        _card.fill('<b data-key="a"></b>', {"b@x": "1"})


def test_the_class_figures_of_cost() -> None:
    assert repr(cards.cost()) == "cost widget: 300 billion tokens at 15,000 tokens/s take 7.7 months"
    card = cards.cost(300e9, 150_000)
    state = _cost.cost_state(card.values, card.config)
    assert state["time"] == "23 days"
    assert "One hour needs 83.3 million tokens/s, 556 times this speed." in state["summary"]


def test_cost_starts_from_any_number_and_moves_in_round_steps() -> None:
    card = cards.cost(123_456_789, 777)
    assert card.config["tokens"][2] == 123_456_789
    positions = [_cost.position_value(i, [6, -1, 0]) for i in range(8 * 24 + 1)]
    assert positions[0] == 1e6 and positions[-1] == 1e14 and 300e9 in positions
    steps = [after / before for before, after in pairwise(positions)]
    assert min(steps) > 1.05 and max(steps) < 1.16
    for bad in ({"n_tokens": 1e5}, {"n_tokens": 2e14}, {"tokens_per_s": 0}, {"tokens_per_s": math.nan}):
        with pytest.raises(ValueError, match="within the slider's range"):
            cards.cost(**bad)


def test_cost_beyond_the_picture_says_so() -> None:
    card = cards.cost(1e14, 1e9)
    state = _cost.cost_state(card.values, card.config)
    assert state["cross@visibility"] == "hidden" and state["hour"].endswith("→")
    fast = cards.cost(1e6, 1e9)  # a millisecond: the dot stays on the bottom edge
    state = _cost.cost_state(fast.values, fast.config)
    assert state["dot@cy"] == f"{_cost.Y0 + _cost.HEIGHT:.1f}" and "which this speed reaches" in state["summary"]


def die(weights: list[int], faces: int, rolled: int = 1) -> _card.State:
    padded = weights + [7] * (12 - len(weights))  # weights of faces the die has not must not matter
    return _die.die_state({"faces": faces, "rolled": rolled} | {f"w{k}": w for k, w in enumerate(padded, 1)}, {})


def test_a_fair_die_has_its_faces_as_perplexity() -> None:
    for faces in (2, 5, 12):
        state = die([3] * faces, faces)
        assert state["big"] == f"{faces}.0 faces" and state["before_exp"] == state["after_exp"] == f"{faces}.0"
        assert state["before_bits"] == f"{math.log2(faces):.2f}"


def test_entropy_before_and_surprise_after_differ_on_a_loaded_die() -> None:
    state = die([2, 1, 1], 3, rolled=2)  # probabilities 1/2, 1/4, 1/4: 1.5 bits, and 2 bits if face 2 comes
    assert state["before_bits"] == "1.50" and state["after_bits"] == "2.00"
    assert state["big"] == "2.8 faces" and state["after_exp"] == "4.0"
    assert state["fill3@width"] == f"{_die.SQUARE * (2**1.5 - 2):.1f}" and state["die4@visibility"] == "hidden"


def test_certain_impossible_and_no_die_at_all() -> None:
    certain = die([5, 0, 0], 3)
    assert certain["big"] == "1.0 faces" and certain["before_nats"] == "0.00" and certain["after_exp"] == "1.0"
    assert "called impossible" in die([5, 0, 0], 3, rolled=3)["summary"]
    assert die([5, 0, 0], 3, rolled=3)["after_nats"] == "∞"
    assert die([0, 0, 0], 3)["summary"].startswith("Every weight is 0")
    assert die([1, 1], 2, rolled=9)["rolled_text"] == "face 2"
    with pytest.raises(ValueError, match=r"whole number in \[2, 12\]"):
        cards.perplexity_die(13)


@pytest.mark.parametrize("loss", [0.2, 0.69, 1.0, math.log(55), 4.0, 10.82])
def test_the_unsure_predictor_is_calibrated_at_any_loss(loss: float) -> None:
    unsure = _predictors.unsure_predictor(loss)
    assert unsure.surprise == pytest.approx(loss) and unsure.entropy == pytest.approx(loss)
    assert unsure.accuracy == unsure.confidence and sum(g[0] for g in unsure.groups) == pytest.approx(1)
    costs = unsure.accuracy * unsure.hit_costs + (1 - unsure.accuracy) * unsure.miss_costs
    assert costs == pytest.approx(loss)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("loss", [2.4, 4.0, 10.8])
def test_the_betting_predictor_has_the_same_loss(loss: float, confidence: float) -> None:
    V = 50257
    betting = _predictors.betting_predictor(loss, confidence, V)
    rest = torch.full((V,), (1 - confidence) / (V - 1), dtype=torch.float64)
    rest[3] = confidence
    assert betting.surprise == pytest.approx(loss)
    assert betting.entropy == pytest.approx(
        float(torch.special.entr(rest).sum())
    )  # slow oracle: the whole distribution
    assert betting.miss_costs == pytest.approx(-math.log(rest[0])) and betting.hit_costs == pytest.approx(
        -math.log(confidence)
    )
    assert betting.confidence == confidence


def test_a_timid_bettor_cannot_reach_a_small_loss() -> None:
    assert _predictors.betting_predictor(0.5, 0.6, 50257) is None  # -ln 0.6 = 0.51
    state = _predictors.predictors_state({"loss": 0.5, "confidence": 0.6}, {"V": 50257})
    assert (
        "Raise the confidence above 61 %" in state["summary"]
        and state["b_accuracy"] == "–"
        and state["b0@width"] == "0.0"
    )
    for bad in ({"loss_nats": 12.0}, {"loss_nats": 0.1}, {"confidence": 1.0}, {"vocab_size": 10}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            cards.unsure_or_wrong(**bad)


def test_the_stepper_shows_the_six_steps() -> None:
    numbers = _stepper.stepper_numbers(random_model, "every effort moves you", "I really like chocolate")
    token_ids = torch.tensor([[16833, 3626, 6100], [40, 1107, 588]])
    targets = torch.tensor([[3626, 6100, 345], [1107, 588, 11311]])
    steps = six_steps(random_model(token_ids), targets)
    rows = [row for sentence in numbers["sentences"] for row in sentence["rows"]]
    assert [row["p"] for row in rows] == pytest.approx(steps.target_probs.flatten().tolist(), rel=1e-3)
    assert [row["log"] for row in rows] == pytest.approx(steps.log_probs.flatten().tolist(), abs=1e-4)
    assert -numbers["mean"] == pytest.approx(steps.loss_nats.item(), abs=1e-4) == numbers["cross_entropy"]
    assert rows[2]["input"] == "' moves'" and rows[2]["target"] == "' you'"
    best = steps.logits[0, 0].argmax().item()
    assert rows[0]["top"][0][0] == repr(gpt2().decode([best]))
    last = _stepper.stepper_state({"step": 6}, numbers)
    assert f"F.cross_entropy {numbers['cross_entropy']:.4f}" in last["result"]
    assert last["step6@aria-pressed"] == "true" and last["r03@hidden"] == ""


def test_sentences_of_different_length_count_every_target_once() -> None:
    numbers = _stepper.stepper_numbers(random_model, "every effort", "I really like chocolate")
    logs = [row["log"] for sentence in numbers["sentences"] for row in sentence["rows"]]
    assert len(logs) == numbers["n"] == 4
    assert numbers["mean"] == pytest.approx(sum(logs) / 4, abs=1e-4) == -numbers["cross_entropy"]
    assert "1 and 3 targets" in numbers["note"] and "not scored" in numbers["note"]


@pytest.mark.parametrize(
    ("first", "message"),
    [("", "got nothing"), ("   ", "got nothing"), ("you", "got 1 token in 'you'"), ("a " * 30, "2 to 9 tokens, got")],
)
def test_a_bad_sentence_is_refused_and_typed_it_becomes_a_message(first: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"first sentence .*{message}"):
        cards.loss_stepper(random_model, first)
    stepper = cards.loss_stepper(random_model)
    stepper.boxes[0].value = first
    config = fed(stepper)
    assert re.search(message, config["error"]) and config["sentences"][0]["text"] == "every effort moves you"
    stepper.boxes[0].value = "another <b>try</b>"
    assert fed(stepper)["error"] is None and fed(stepper)["sentences"][0]["text"] == "another <b>try</b>"


def fed(stepper: _stepper.LossStepper) -> dict:
    return json.loads(html.unescape(re.search(r'data-config="([^"]*)"', stepper.feed.value)[1]))


def test_the_stepper_displays_card_then_boxes(capsys: pytest.CaptureFixture) -> None:
    stepper = cards.loss_stepper(random_model)
    stepper._ipython_display_()  # outside IPython, display prints the plain texts
    stepper._ipython_display_()
    first, second = stepper.card_ids
    assert re.fullmatch(r"stepper-\d+", first) and first != second
    assert repr(stepper).startswith("loss stepper: “every effort moves you” and “I really like chocolate”: loss ")
    card = _stepper._template()
    page = _card.fill(
        card, {k: v for k, v in _stepper.stepper_state({"step": 1}, stepper.numbers).items() if k != "summary"}
    )
    assert "&#x27; effort" in page or "' effort'" in page
    stepper.boxes[0].value = "another try"
    assert f'data-feed="{first} {second}"' in stepper.feed.value


def test_a_model_is_left_in_the_mode_it_was_in_and_a_small_one_is_refused() -> None:
    layer = torch.nn.Sequential(torch.nn.Embedding(50257, 3), torch.nn.Dropout(0.9), torch.nn.Linear(3, 50257))
    layer.train()
    one, two = (_stepper.stepper_numbers(layer, "a b", "c d") for _ in range(2))
    assert layer.training and one == two  # dropout was off
    with pytest.raises(ValueError, match="got one over 11"):
        _stepper.stepper_numbers(lambda ids: torch.zeros(*ids.shape, 11), "every effort", "I like")
