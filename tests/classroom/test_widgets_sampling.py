"""The sampling card: its script's probabilities against all V logits in torch, draws, texts, what it refuses."""

import json
import math

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.gpt import gpt2, next_probs
from helpers.labs import pretrained
from tests.cards import script
from tests.support import refusals_of

WORDS = ["home", "away", "back", "down", "out", "in", "over", "on", "under"]
LOGITS = [3.2, 2.4, 2.4, 1.1, 0.6, 0.1, -0.5, -1.2, -3.0]
MAX_STATE_BYTES = 20_000
TEMPERATURES = (0.0, 0.05, 0.2, 0.5, 0.7, 1.0, 1.5, 3.0, 5.0, math.inf)
FILTERS = (
    {}, {"top_k": 1}, {"top_k": 7}, {"top_k": 120}, {"top_k": 8000}, {"top_p": 0.05}, {"top_p": 0.5}, {"top_p": 0.95},
    {"top_p": 0.999}, {"min_p": 0.3}, {"min_p": 0.05}, {"min_p": 0.002}, {"min_p": 0.001}, {"min_p": 1.0},
    {"top_k": 1000, "top_p": 0.9, "min_p": 0.01}, {"top_k": 3000, "top_p": 0.99, "min_p": 0.002},
)  # fmt: skip
OUTCOMES = """(config, grid) => { const groups = groupsOf(config); return grid.map((settings) => {
  const { kept, n, exact, modelMass, probs, entropy } = outcome(groups, settings);
  return { n, exact, modelMass, entropy, probs: groups.slice(0, 12).map((g) => probs[kept.indexOf(g)] || 0) }; }); }"""


def at(card: cards.Card, **settings: float) -> dict:
    """The card's positions with these sliders moved to stops of theirs."""
    stops = {name: stops for name, _, stops in card.config["sliders"]}
    places = {name: stops[name].index("Infinity" if x == math.inf else x) for name, x in settings.items()}
    return card.values | places


def outcomes(config: dict, grid: list[dict]) -> list[dict]:
    """What the script makes of a distribution for settings of `SamplingParams`; the 12 highest probabilities."""
    return script("sampling").call(OUTCOMES, config, [{"filters_first": True, "temperature": 1.0} | s for s in grid])


@pytest.fixture(scope="module")
def rows() -> dict[str, Tensor]:
    """V logits each: what the course's model says, and random normals."""
    text = gpt2().encode("The captain of the ship was")
    with torch.no_grad():
        real = pretrained.load()(torch.tensor([text]))[0, -1]
    normal = 2 * torch.randn(50257, generator=torch.Generator().manual_seed(3))
    return {"model": real, "normal": normal, "words": torch.tensor(LOGITS)}


@pytest.mark.parametrize("name", ["model", "normal", "words"])
@pytest.mark.parametrize("filters_first", [True, False])
def test_what_is_shown_is_that_of_all_tokens(rows: dict, name: str, filters_first: bool) -> None:
    ranked = rows[name].double().sort(descending=True).values
    filters = [f for f in FILTERS if f.get("top_k", 1) <= len(ranked)]
    grid = [{"temperature": T, "filters_first": filters_first, **f} for T in TEMPERATURES for f in filters]
    own = torch.softmax(ranked, 0)
    for settings, found in zip(grid, outcomes(cards.sampling(rows[name]).config, grid), strict=True):
        expected = next_probs(ranked, **settings)
        shown = torch.tensor(found["probs"], dtype=torch.float64)
        assert (shown - expected[:12]).abs().max() < 6e-5, settings
        assert abs(shown.sum() - expected[:12].sum()) < 1e-4, f"the others together, {settings}"
        assert abs(found["entropy"] - torch.special.entr(expected).sum()) < 0.005, settings
        n_kept = int((expected > 0).sum())
        if settings["temperature"] >= 0.2 and found["exact"]:  # where colder, what is kept underflows to 0 in torch
            assert found["n"] == n_kept and abs(found["modelMass"] - own[:n_kept].sum()) < 1e-4, settings
        elif settings["temperature"] >= 0.2:
            assert found["n"] == pytest.approx(n_kept, rel=0.01), settings


def test_by_hand() -> None:
    config = cards.sampling([0.0, math.log(4), math.log(2), 0.0], ["a", "b", "c", "d"]).config
    assert config["names"] == ["b", "c", "a", "d"], "sorted, equals by lower id"

    def probs(**settings: object) -> list[float]:
        return [p for p in outcomes(config, [settings])[0]["probs"] if p]

    assert probs() == pytest.approx([4 / 8, 2 / 8, 1 / 8, 1 / 8], abs=1e-6)
    assert probs(top_k=3) == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-6)
    assert probs(top_p=0.6) == pytest.approx([2 / 3, 1 / 3], abs=1e-6), "1/2 is not enough"
    assert probs(min_p=0.4) == pytest.approx([2 / 3, 1 / 3], abs=1e-6), "at least 0.4 · 1/2"
    assert probs(temperature=0.5, top_p=0.7) == pytest.approx([16 / 20, 4 / 20], abs=1e-6)
    assert probs(temperature=0.5, top_p=0.7, filters_first=False) == [1.0], "16/22 is enough"
    assert probs(temperature=math.inf, top_k=3) == pytest.approx([1 / 3] * 3)
    assert probs(temperature=0.0, top_k=2) == [1.0]
    assert outcomes(config, [{"temperature": 0.0, "top_k": 2, "filters_first": False}])[0]["n"] == 1
    (kept,) = outcomes(config, [{"top_k": 2}])
    assert kept["modelMass"] == pytest.approx(6 / 8) and kept["n"] == 2 and kept["exact"]
    assert kept["entropy"] == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    card = cards.sampling([0.0, -math.inf, 1.0], ["a", "b", "c"])
    (state,) = script("sampling").states([at(card, temperature=math.inf)], card.config)
    assert (state["p0"], state["p1"], state["p2"], state["mark2"]) == ("50.00 %", "50.00 %", "0 %", "cut")
    assert "2 of 3 tokens are kept" in state["summary"], "a forbidden token is never kept"


def test_a_group_stands_for_evenly_spread_logits() -> None:
    n, mean, half = 999, -2.0, 0.3
    spread = torch.linspace(mean + half * (1 - 1 / n), mean - half * (1 - 1 / n), n, dtype=torch.float64)
    group, call = [n, mean, half], script("sampling").call
    for inverse in (0.0, 0.2, 1.0, 8.0):
        weights = (inverse * spread).exp()
        assert call("mass", group, inverse) == pytest.approx(weights.sum().item(), rel=1e-5)
        assert call("mass", call("top", group, 101), inverse) == pytest.approx(weights[:101].sum().item(), rel=1e-5)
        tilted = (weights * spread).sum() / weights.sum()
        assert call("tiltedMean", group, inverse) == pytest.approx(tilted.item(), abs=1e-6)
        reached = int((weights.cumsum(0) < 0.37 * weights.sum()).sum()) + 1
        assert call("countToReach", group, 0.37 * call("mass", group, inverse), inverse) == reached
    assert call("countAbove", group, -2.1) == int((spread >= -2.1).sum())
    assert call("countAbove", group, -1.0) == 0 and call("countAbove", group, -9.0) == n


def test_the_state_stays_small_and_plain(rows: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    for logits in (*rows.values(), torch.randn(200_000, generator=generator), torch.randn(2, generator=generator)):
        config = json.loads(json.dumps(cards.sampling(logits, prompt="x" * 40).config, allow_nan=False))
        assert len(json.dumps(config, separators=(",", ":"))) < MAX_STATE_BYTES
        assert len(config["steps"]) + sum(n for n, _, _ in config["groups"]) == config["V"] == len(logits)


def test_draws_have_the_given_shares_and_each_seed_its_own() -> None:
    probs, call = [0.5, 0.2, 0.05], script("sampling").call
    assert call("drawCounts", probs, 500, 7) == call("drawCounts", probs, 500, 7) != call("drawCounts", probs, 500, 8)
    counts = torch.tensor(call("drawCounts", probs, 10_000, 1), dtype=torch.float64) / 10_000
    shares = torch.tensor([*probs, 0.25], dtype=torch.float64)
    assert ((counts - shares).abs() < 3.5 * (shares * (1 - shares) / 10_000).sqrt()).all()
    assert call("drawCounts", [1.0], 100, 1) == [100, 0]


def test_frequency_stands_beside_the_probability_with_its_error() -> None:
    card = cards.sampling(LOGITS, WORDS)
    some = at(card, n_draws=500)
    state, again = script("sampling").states([some, some | {"seed": 2}], card.config)
    p = torch.softmax(torch.tensor(LOGITS, dtype=torch.float64), 0)[0].item()
    assert state["p0"] == state["own0"] == f"{100 * p:.2f} %"
    assert state["f0"].endswith(f"± {100 * math.sqrt(p * (1 - p) / 500):.1f} %") and state["draws"] == "500 draws"
    assert again["f0"] != state["f0"] and again["p0"] == state["p0"]
    assert sum(float(state[f"f{i}"].split()[0]) for i in range(9)) == pytest.approx(100)
    assert state["others@hidden"] == ""


def test_the_sentences_say_what_is_true(rows: dict) -> None:
    card = cards.sampling(rows["model"], gpt2(), prompt="The captain of the ship was")
    probs = torch.softmax(rows["model"].double(), 0)
    best = probs.topk(40).values
    name, first = repr(gpt2().decode([int(probs.argmax())])), f"{100 * best[0] / best.sum():.2f} %"
    entropy = torch.special.entr(best / best.sum()).sum().item()
    choices = f"entropy {entropy:.2f} nats, as uncertain as {math.exp(entropy):.1f} equal choices."
    whole = torch.special.entr(probs).sum().item()
    assert card.sentence == (
        f"After “The captain of the ship was”, the top-1 token is {name} with {100 * best[0]:.2f} %; "
        f"entropy {whole:.2f} nats, as uncertain as {math.exp(whole):,.1f} equal choices."
    )
    state, wide = script("sampling").states([at(card, top_k=40), card.values | {"min_p": 1}], card.config)
    assert state["summary"] == (
        f"After “The captain of the ship was”, 40 of 50,257 tokens are kept, {100 * best.sum():.2f} % of the model’s "
        f"probability. The top-1 token, {name.replace(' ', chr(160))}, now has {first}; {choices}"
    )
    assert state["other"] == "50,245 others: 28 kept"
    assert wide["other"].startswith("50,245 others: ≈ ") and "about" in wide["summary"]


def test_the_scale_of_the_bars_follows_them_or_stays() -> None:
    card = cards.sampling(LOGITS, WORDS)
    hot = at(card, temperature=5.0, n_draws=10_000)
    rescaled, fixed = script("sampling").states([hot, hot | {"scale": 1}], card.config)
    width = [float(state["bar0@style"][len("width:") : -1]) for state in (rescaled, fixed)]
    p = torch.softmax(torch.tensor(LOGITS) / 5, 0)[0].item()
    assert width[1] == pytest.approx(100 * p, abs=0.06) and width[0] > 90, "on the fixed scale, heat looks flat"
    assert (fixed["axis"], fixed["scaled"], fixed["scale1@aria-pressed"]) == ("0 to 100 %", "fixed", "true")
    assert rescaled["p0"] == fixed["p0"] and rescaled["scaled"] == "rescaled"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (([1.0, 2.0],), ["id 1", "id 0"]),
        (([0.0] * 257, gpt2()), ["'!'", "'\"'"]),
        (([1.0, 0.0], ["a" * 99, "b"]), ["a" * 13 + "…", "b"]),
        ((torch.zeros(3, dtype=torch.bfloat16, requires_grad=True),), ["id 0", "id 1", "id 2"]),
    ],
)
def test_names_come_from_a_list_or_a_tokenizer(given: tuple, names: list) -> None:
    assert cards.sampling(*given).config["names"][: len(names)] == names


def test_sliders_offer_the_limits_and_are_read_as_python_set_them() -> None:
    for V in (2, 10, 50257, 200_000):
        stops = {name: stops for name, _, stops in cards.sampling(torch.zeros(V)).config["sliders"]}
        ks = stops["top_k"][:-1]
        assert ks[0] == 1 and ks == sorted(set(ks)) and ks[-1] < V
        assert stops["temperature"][0] == 0 and stops["temperature"][-2:] == [5.0, "Infinity"]
        assert all(None in stops[name] for name in ("top_k", "top_p", "min_p")), "each filter can be off"
    settings = {"temperature": 0.7, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "n_draws": 20}
    card = cards.sampling(LOGITS, WORDS)
    chosen = script("sampling").call("chosen", at(card, **settings) | {"order": 1}, card.config)
    assert chosen == settings | {"filters_first": False}


test_bad_input_is_refused = refusals_of(
    lambda change: cards.sampling(**({"logits": LOGITS, "tokens": WORDS} | change)),
    ({"logits": [[1.0, 2.0]]}, r"one row of V logits, .* got shape \(1, 2\): logits\[0, -1\]"),
    ({"logits": [1.0]}, r"V in \[2, 200,000\], got shape \(1,\)"),
    ({"logits": [1.0, math.nan]}, "one is nan"),
    ({"logits": [1.0, math.inf]}, "one is inf"),
    ({"logits": [-math.inf, -math.inf]}, "every one is -inf"),
    ({"tokens": ["a", "b"]}, "expected 9 token names, .* got 2 of them"),
    ({"tokens": "homebound"}, "expected 9 token names, .* got 9 of them"),
    ({"tokens": 3}, "got int"),
)
