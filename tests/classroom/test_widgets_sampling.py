"""The sampling card: its probabilities against all V logits in torch, its draws, its first state, what it refuses."""

from __future__ import annotations

import html
import json
import math
import re

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.classroom.cards import _distribution, _sampling
from helpers.classroom.cards._distribution import Group, Settings, groups_of, outcome, sampling_config
from helpers.gpt import gpt2, next_probs
from helpers.labs import pretrained
from tests.cards import assert_carries_its_first_state

WORDS = ["home", "away", "back", "down", "out", "in", "over", "on", "under"]
LOGITS = [3.2, 2.4, 2.4, 1.1, 0.6, 0.1, -0.5, -1.2, -3.0]
MAX_STATE_BYTES = 20_000
TEMPERATURES = (0.0, 0.05, 0.2, 0.5, 0.7, 1.0, 1.5, 3.0, 5.0, math.inf)
FILTERS = (
    {}, {"top_k": 1}, {"top_k": 7}, {"top_k": 120}, {"top_k": 8000}, {"top_p": 0.05}, {"top_p": 0.5}, {"top_p": 0.95},
    {"top_p": 0.999}, {"min_p": 0.3}, {"min_p": 0.05}, {"min_p": 0.002}, {"min_p": 0.001}, {"min_p": 1.0},
    {"top_k": 1000, "top_p": 0.9, "min_p": 0.01}, {"top_k": 3000, "top_p": 0.99, "min_p": 0.002},
)  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> dict[str, Tensor]:
    """V logits each: what the course's model says, and random normals."""
    text = gpt2().encode("The captain of the ship was")
    with torch.no_grad():
        real = pretrained.load()(torch.tensor([text]))[0, -1]
    generator = torch.Generator().manual_seed(3)
    return {"model": real, "normal": 2 * torch.randn(50257, generator=generator)}


def filtered(ranked: Tensor, settings: Settings) -> Tensor:
    """By another way than the module: loops over sorted float64 logits (V,), one filter after the other."""
    n, T = len(ranked), settings.temperature
    first = ranked if settings.filters_first else ranked / T if T else ranked.new_full((n,), -math.inf)
    if not settings.filters_first and T == 0:
        first[0] = 0.0
    kept = n if settings.top_k is None else min(settings.top_k, n)
    if settings.top_p is not None:
        probs = torch.softmax(first[:kept], 0)
        kept = int((probs.cumsum(0) - probs < settings.top_p - 1e-12).sum())
    if settings.min_p is not None:
        probs = torch.softmax(first[:kept], 0)
        kept = int((probs >= settings.min_p * probs[0] * (1 - 1e-12)).sum())
    if T == 0:
        return torch.nn.functional.one_hot(torch.tensor(0), n).double()
    return torch.cat([torch.softmax(ranked[:kept] / T, 0), ranked.new_zeros(n - kept)])


@pytest.mark.parametrize("name", ["model", "normal"])
@pytest.mark.parametrize("filters_first", [True, False])
def test_what_is_shown_is_that_of_all_tokens_to_1e4(rows: dict, name: str, filters_first: bool) -> None:
    ranked = rows[name].double().sort(descending=True).values
    groups = groups_of(sampling_config(rows[name]))
    for T in TEMPERATURES:
        for filters in FILTERS:
            settings = Settings(temperature=T, filters_first=filters_first, **filters)
            found, expected = outcome(groups, settings), filtered(ranked, settings)
            shown = torch.tensor((found.probs + [0.0] * 12)[:12], dtype=torch.float64)
            assert (shown - expected[:12]).abs().max() < 1e-4, settings
            assert abs(shown.sum() - expected[:12].sum()) < 1e-4, f"the others together, {settings}"
            assert abs(found.entropy - torch.special.entr(expected).sum()) < 0.005, settings
            n_kept = int((expected > 0).sum())
            if T >= 0.2 and found.exact:  # where colder, what is kept underflows to 0 in the slow way
                assert found.n_kept == n_kept, settings
                assert abs(found.model_mass - torch.softmax(ranked, 0)[:n_kept].sum()) < 1e-4, settings
            elif T >= 0.2:
                assert found.n_kept == pytest.approx(n_kept, rel=0.01), settings


def test_the_state_stays_small_and_plain(rows: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    for logits in (*rows.values(), torch.randn(200_000, generator=generator), torch.randn(2, generator=generator)):
        config = sampling_config(logits, prompt="x" * 40)
        text = json.dumps(config, separators=(",", ":"), allow_nan=False)
        assert json.loads(text) == config and len(text.encode()) < MAX_STATE_BYTES
        groups = groups_of(config)
        assert sum(group.n for group in groups) == config["V"] == len(logits)
        assert sum(group.mass(1.0) for group in groups) == pytest.approx(
            (logits.double() - logits.max()).exp().sum().item(), rel=1e-4
        )


def test_nine_words_agree_with_the_class_that_writes() -> None:
    config = sampling_config(LOGITS, WORDS)
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    for T in TEMPERATURES:
        for filters in ({}, {"top_k": 2}, {"top_k": 9}, {"top_p": 0.5}, {"top_p": 0.9, "min_p": 0.4}, {"min_p": 0.1}):
            for first in (True, False):
                settings = {"temperature": T, "filters_first": first, **filters}
                found = outcome(groups_of(config), Settings(**settings)).probs
                expected = next_probs(logits, **settings)
                assert torch.tensor(found + [0.0] * (9 - len(found))) == pytest.approx(expected, abs=1e-6), settings


def test_by_hand() -> None:
    config = sampling_config([0.0, math.log(4), math.log(2), 0.0], ["a", "b", "c", "d"])
    assert config["names"] == ["b", "c", "a", "d"], "sorted, equals by lower id"
    groups = groups_of(config)

    def probs(**settings: object) -> list[float]:
        return outcome(groups, Settings(**settings)).probs

    assert probs() == pytest.approx([4 / 8, 2 / 8, 1 / 8, 1 / 8])
    assert probs(top_k=3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert probs(top_p=0.6) == pytest.approx([2 / 3, 1 / 3]), "1/2 is not enough"
    assert probs(min_p=0.4) == pytest.approx([2 / 3, 1 / 3]), "at least 0.4 · 1/2"
    assert probs(temperature=2.0, top_k=2) == pytest.approx([2 / (2 + 2**0.5), 2**0.5 / (2 + 2**0.5)])
    assert probs(temperature=0.5, top_p=0.7) == pytest.approx([16 / 20, 4 / 20])
    assert probs(temperature=0.5, top_p=0.7, filters_first=False) == [1.0], "16/22 is enough"
    assert probs(temperature=math.inf, top_k=3) == pytest.approx([1 / 3] * 3)
    assert probs(temperature=0.0, top_k=2) == [1.0, 0.0]
    kept = outcome(groups, Settings(top_k=2))
    assert kept.model_mass == pytest.approx(6 / 8) and kept.n_kept == 2 and kept.exact
    assert kept.entropy == pytest.approx(math.log(3) - 2 / 3 * math.log(2))


def test_a_group_stands_for_evenly_spread_logits() -> None:
    n, mean, half = 999, -2.0, 0.3
    spread = torch.linspace(mean + half * (1 - 1 / n), mean - half * (1 - 1 / n), n, dtype=torch.float64)
    group = Group(n, mean, half)
    for inverse in (0.0, 0.2, 1.0, 8.0):
        weights = (inverse * spread).exp()
        assert group.mass(inverse) == pytest.approx(weights.sum().item(), rel=1e-5)
        assert group.top(101).mass(inverse) == pytest.approx(weights[:101].sum().item(), rel=1e-5)
        tilted = (weights * spread).sum() / weights.sum()
        assert group.tilted_mean(inverse) == pytest.approx(tilted.item(), abs=1e-6)
        reached = int((weights.cumsum(0) < 0.37 * weights.sum()).sum()) + 1
        assert group.count_to_reach(0.37 * group.mass(inverse), inverse) == reached
    assert group.count_above(-2.1) == int((spread >= -2.1).sum())
    assert group.count_above(-1.0) == 0 and group.count_above(-9.0) == n


def test_a_forbidden_token_is_never_kept() -> None:
    config = sampling_config([0.0, -math.inf, 1.0], ["a", "b", "c"])
    now = outcome(groups_of(config), Settings(temperature=math.inf))
    assert now.probs == pytest.approx([0.5, 0.5]) and config["names"] == ["c", "a", "b"]
    state = _sampling.sampling_state(_sampling.START | {"top_k": 2}, config)
    assert state["mark2"] == "cut" and state["p2"] == "0 %" and "2 of 3 tokens are kept" in state["summary"]


def mulberry32(seed: int, n: int) -> list[float]:
    """In 32-bit tensors that wrap by themselves, after the published C code."""

    def multiply(a: int, b: int) -> int:
        return int((torch.tensor([a]).int() * torch.tensor([b]).int()).item()) & 0xFFFFFFFF

    numbers = []
    for i in range(1, n + 1):
        z = (seed + i * 0x6D2B79F5) % 2**32
        z = multiply(wrap(z ^ z >> 15), wrap(z | 1))
        z ^= (z + multiply(wrap(z ^ z >> 7), wrap(z | 61))) % 2**32
        numbers.append((z ^ z >> 14) / 2**32)
    return numbers


def wrap(x: int) -> int:
    return x - 2**32 if x >= 2**31 else x


def test_draws_are_those_of_the_generator_and_have_the_given_shares() -> None:
    probs = [0.5, 0.2, 0.05]
    drawn = torch.tensor(mulberry32(7, 500), dtype=torch.float64)
    expected = torch.histogram(drawn, torch.tensor([0, 0.5, 0.7, 0.75, 1.0], dtype=torch.float64)).hist.long().tolist()
    assert _distribution.draw_counts(probs, 500, 7) == expected
    assert _distribution.draw_counts(probs, 500, 8) != expected
    counts = torch.tensor(_distribution.draw_counts(probs, 10_000, 1), dtype=torch.float64) / 10_000
    shares = torch.tensor([*probs, 0.25], dtype=torch.float64)
    assert ((counts - shares).abs() < 3.5 * (shares * (1 - shares) / 10_000).sqrt()).all()
    assert _distribution.draw_counts([1.0], 100, 1) == [100, 0]


def test_frequency_stands_beside_the_probability_with_its_error() -> None:
    card = cards.sampling(LOGITS, WORDS, n_draws=500)
    state = card.compute(card.values, card.config)
    p = torch.softmax(torch.tensor(LOGITS, dtype=torch.float64), 0)[0].item()
    assert state["p0"] == state["own0"] == f"{100 * p:.2f} %"
    assert state["f0"].endswith(f"± {100 * math.sqrt(p * (1 - p) / 500):.1f} %") and state["draws"] == "500 draws"
    again = card.compute(card.values | {"seed": 2}, card.config)
    assert again["f0"] != state["f0"] and again["p0"] == state["p0"]
    shares = [float(state[f"f{i}"].split()[0]) for i in range(9)]
    assert sum(shares) == pytest.approx(100) and state["others@hidden"] == ""


def test_the_sentence_says_what_is_true_now(rows: dict) -> None:
    card = cards.sampling(rows["model"], gpt2(), top_k=40, prompt="The captain of the ship was")
    probs = torch.softmax(rows["model"].double(), 0)
    best = probs.topk(40).values
    name = repr(gpt2().decode([int(probs.argmax())])).replace(" ", "\u00a0")
    entropy = torch.special.entr(best / best.sum()).sum().item()
    assert repr(card) == (
        f"sampling widget: After “The captain of the ship was”, 40 of 50,257 tokens are kept, {100 * best.sum():.2f} % "
        f"of the model’s probability. The likeliest, {name}, now has {100 * best[0] / best.sum():.2f} %; entropy "
        f"{entropy:.2f} nats, as unsure as {math.exp(entropy):.1f} equal choices."
    )
    state = card.compute(card.values, card.config)
    assert state["other"] == "all 50,245 others: 28 kept"
    wide = card.compute(card.values | {"top_k": len(_sampling.k_stops(50257)) - 1, "min_p": 1}, card.config)
    assert wide["other"].startswith("all 50,245 others: ≈ ") and "about" in wide["summary"]


@pytest.mark.parametrize("big", [False, True])
def test_the_card_carries_its_whole_first_state(rows: dict, big: bool) -> None:
    card = cards.sampling(rows["model"], gpt2()) if big else cards.sampling(LOGITS, WORDS)
    page = assert_carries_its_first_state(card)
    config = html.unescape(re.search(r'data-config="([^"]*)"', page)[1])
    assert json.loads(config) == card.config and "%CARD%" not in page


def test_where_styles_are_taken_away_a_table_with_bars_remains() -> None:
    card = cards.sampling(LOGITS, ["<b>", *WORDS[1:]])
    page = card.markup("sampling-1")
    shown = page[page.index('<p data-key="summary"') : page.index('<div class="cw-body" hidden="hidden">')]
    table = re.findall(r"<tr><td>(.*?)</td><td>(█*)</td><td>(.*?)</td></tr>", shown)
    assert [name for name, _, _ in table] == ["&lt;b&gt;", *WORDS[1:]] and table[0][2] == "45.88 %"
    assert [len(bar) for _, bar, _ in table[:4]] == [24, 11, 11, 3]
    assert "<input" not in shown and "style" not in shown
    assert "all other tokens" in _sampling.sampling_card(sampling_config(LOGITS, WORDS, n_shown=3)).plain


def test_names_come_from_a_list_a_function_or_a_tokenizer() -> None:
    assert sampling_config([1.0, 2.0])["names"] == ["id 1", "id 0"]
    assert sampling_config([1.0, 2.0], lambda i: f"<{i}>")["names"] == ["<1>", "<0>"]
    assert sampling_config([0.0] * 257, gpt2(), n_shown=2)["names"] == ["'!'", "'\"'"]
    assert sampling_config([1.0, 0.0], ["a" * 99, "b"])["names"] == ["a" * 13 + "…", "b"]
    assert sampling_config(torch.zeros(3, dtype=torch.bfloat16, requires_grad=True))["logits"] == [0.0] * 3


def test_sliders_offer_the_limits_and_round_numbers() -> None:
    assert _sampling.TEMPERATURES[0] == 0 and _sampling.TEMPERATURES[-2:] == (5.0, math.inf)
    assert 1.0 in _sampling.TEMPERATURES and list(_sampling.TEMPERATURES) == sorted(_sampling.TEMPERATURES)
    assert _sampling.k_stops(9) == list(range(1, 10)) and _sampling.k_stops(2) == [1, 2]
    for V in (10, 50, 50257, 200_000):
        stops = _sampling.k_stops(V)
        assert stops == sorted(set(stops)) and stops[0] == 1 and stops[-1] == V
    card = cards.sampling(LOGITS, WORDS, temperature=0.7, top_k=3, top_p=0.9, min_p=0.1, filters_first=False)
    assert _sampling.settings_at(card.values, 9) == Settings(0.7, 3, 0.9, 0.1, False)
    assert "data-fed" in _sampling.sampling_card(card.config, fed=True).markup(
        "x"
    ) and 'data-fed="yes"' not in card.markup("x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": [[1.0, 2.0]]}, r"one row of V logits, .* got shape \(1, 2\): logits\[0, -1\]"),
        ({"logits": [1.0]}, r"V in \[2, 200,000\], got shape \(1,\)"),
        ({"logits": [1.0, math.nan]}, "one is nan"),
        ({"logits": [1.0, math.inf]}, "one is inf"),
        ({"logits": [-math.inf, -math.inf]}, "every one is -inf"),
        ({"tokens": ["a", "b"]}, "expected 9 token names, .* got 2 of them"),
        ({"tokens": "homebound"}, "expected 9 token names, .* got 9 of them"),
        ({"tokens": 3}, "got int"),
        ({"n_shown": 41}, r"n_shown must be a whole number in \[1, 40\], got 41"),
        (
            {"temperature": 0.83},
            r"temperature must be a stop of its slider, in \[0, inf\], got 0.83; the nearest .* 0.85",
        ),
        ({"temperature": -1}, "nearest stop is 0$"),
        ({"temperature": math.nan}, "got nan$"),
        ({"top_k": 10}, r"in \[1, 9\], got 10; the nearest stop is 9"),
        ({"top_p": 0}, r"top_p .* got 0; the nearest stop is 0.01"),
        ({"min_p": 1.2}, "nearest stop is 1$"),
        ({"n_draws": True}, "n_draws must be a stop .* got True"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cards.sampling(**({"logits": LOGITS, "tokens": WORDS} | change))
