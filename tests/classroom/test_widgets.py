"""Die, predictors and cost without a browser: their scripts against torch and `budget`; what every card must do."""

import html
import itertools
import math
import random
import re

import pytest
import torch

from helpers.classroom import cards
from helpers.gpt import perplexity
from helpers.labs import budget
from tests.cards import CARDS, assert_draws_itself, first_positions, sanitised, script

MAX_BYTES = 33_000
V = 50257
every_card = pytest.mark.parametrize("kind", [kind for kind in CARDS if kind not in ("stepper", "tree")])


@every_card
def test_a_card_draws_itself_and_is_small(kind: str) -> None:
    card = CARDS[kind]()
    page = card.markup("x-1")
    assert_draws_itself(card)
    assert len(page.encode()) < MAX_BYTES and page.startswith('<div class="cw" role="region"')
    assert f'aria-label="{card.title}"' in page and "<section" not in page


@every_card
def test_without_script_and_style_sentence_and_table_remain(kind: str) -> None:
    card = CARDS[kind]()
    page = sanitised(card.markup("x-1"))
    assert all(piece == "$" for piece in re.findall(r">([^<]*)", page) if "$" in piece), "a formula for MathJax"
    shown = html.unescape(page).replace("<span>$</span>", "$")
    assert all(text in shown for text in (card.title, card.sentence, card.still)) and repr(card).endswith(card.sentence)
    for cell in itertools.chain(*card.table):
        assert re.search(rf"<t[hd]>{re.escape(cell)}</t[hd]>", shown)
    assert len(card.table) >= 3 and len({len(row) for row in card.table}) == 1


@every_card
def test_the_sentence_is_where_the_script_begins(kind: str) -> None:
    card = CARDS[kind]()
    (state,) = script(card.kind).states([first_positions(card)], card.config)
    words = {"predictors": 4, "grid": 0, "sampling": 3}.get(card.kind, len(card.sentence))  # there the script says more
    assert state["summary"].startswith(" ".join(card.sentence.split(" ")[:words]))


@pytest.mark.parametrize(
    ("here", "there", "numbers"),
    [
        ("readableCount", budget.readable_count, [9_995_000, 9_994_999, 999_500, 999_499, 999.5e9, 999.7e12, 0.5, 1.5]),
        ("readableTime", budget.readable_time, [0, 0.05, 59.99, 3599, 3600, 9.95 * 86400, 365 * 86400]),
        ("readableBytes", budget.readable_bytes, [1023, 1024, 1024 * 99.95, 1024 * 1.125, 2**40 * 100, 9.995 * 2**20]),
    ],
)
def test_a_readable_number_is_python_s(here: str, there: object, numbers: list[float]) -> None:
    generator = random.Random(0)
    numbers = numbers + [10 ** generator.uniform(-2, 15) for _ in range(3000)]
    numbers += [round(digits * 10**power, 6) for digits in (1, 9.985, 9.995, 99.85, 99.95, 995) for power in range(13)]
    numbers += [k / 8 * 1e6 for k in range(8, 400)]  # exact ties
    assert script().call(f"(numbers) => numbers.map({here})", numbers) == [there(n) for n in numbers]


def test_rounding_is_python_s() -> None:
    numbers = [k / 64 for k in range(-2000, 2000) if not -33 < k < 0] + [1234567.5, 1e-9, 0.995, 2.675]
    for digits in (0, 1, 2):
        found = script().call("(numbers, digits) => numbers.map((x) => fixed(x, digits))", numbers, digits)
        assert found == [f"{x:,.{digits}f}" for x in numbers]


def test_cost_over_all_stops_is_the_budget_s() -> None:
    card, js = cards.cost(), script("cost")
    n_tokens, rates = (js.call("(n, scale) => [...Array(n).keys()].map((i) => valueAt(i, scale))", n, card.config[name])
                       for name, n in (("tokens", 193), ("rate", 169)))  # fmt: skip
    assert card.sentence == "300 billion tokens at 15,000 tokens/s take 7.7 months."
    (fast,) = js.states([{"tokens": n_tokens.index(300e9), "rate": rates.index(150_000)}], card.config)
    assert fast["time"] == "23 days" and "83.3 million tokens/s, 556 times this speed." in fast["summary"]
    assert (n_tokens[0], n_tokens[-1], rates[0], rates[-1]) == (1e6, 1e14, 100, 1e9)
    steps = [after / before for before, after in itertools.pairwise(n_tokens)]
    assert min(steps) > 1.01 and max(steps) < 1.16
    settings = [{"tokens": i, "rate": 7 * i % len(rates)} for i in range(len(n_tokens))]
    for setting, state in zip(settings, js.states(settings, card.config), strict=True):
        tokens, rate = n_tokens[setting["tokens"]], rates[setting["rate"]]
        assert state["time"] == budget.readable_time(budget.training_seconds(tokens, rate)), (tokens, rate)
        assert state["tokens_text"] == f"{budget.readable_count(tokens)} tokens"
        assert f"One hour needs {budget.readable_count(tokens / 3600)} tokens/s" in state["summary"]
        x, y = math.log10(rate), min(max(math.log10(tokens / rate), 0), 11)  # 65.1 px a power of ten, and 27.3
        assert float(state["dot@cx"]) == pytest.approx(84 + 456 * (x - 2) / 7, abs=0.06)
        assert float(state["dot@cy"]) == pytest.approx(312 - 300 * y / 11, abs=0.06)
    most, least = js.states([{"tokens": 192, "rate": 168}, {"tokens": 0, "rate": 168}], card.config)  # 1e14, 1e6
    assert most["cross@visibility"] == "hidden" and most["hour"].endswith("→"), "beyond the picture"
    assert least["cross@visibility"] is None and least["hour"].endswith("tokens/s")
    assert least["dot@cy"] == "312.0" and "which this speed reaches" in least["summary"], "a millisecond: on the edge"


def test_a_die_is_torch_s_categorical() -> None:
    generator, js = random.Random(0), script("die")
    for _ in range(200):
        weights = [generator.choice((0, 1, 7, 20)) for _ in range(generator.randint(2, 12))]
        rolled = generator.randint(1, len(weights))
        found = js.call("measure", weights, rolled)
        if not sum(weights):
            assert found["total"] == found["perplexity"] == 0
            continue
        dist = torch.distributions.Categorical(probs=torch.tensor(weights, dtype=torch.float64))
        assert found["probs"] == pytest.approx(dist.probs.tolist())
        assert found["entropy"] == pytest.approx(dist.entropy().item(), abs=1e-9)
        assert found["perplexity"] == pytest.approx(perplexity(found["entropy"]))
        if weights[rolled - 1]:
            assert found["surprisal"] == pytest.approx(-dist.log_prob(torch.tensor(rolled - 1)).item(), abs=1e-9)
            assert found["perplexityAfter"] == pytest.approx(sum(weights) / weights[rolled - 1])
        else:
            assert found["surprisal"] is None  # infinite


def die(weights: list[int], rolled: int = 1, rolls: int = 0, seed: int = 1) -> dict:
    padded = weights + [7] * (12 - len(weights))  # weights of faces it has not must not matter
    values = {"faces": len(weights), "rolled": rolled, "rolls": rolls, "seed": seed}
    values |= {f"w{k}": w for k, w in enumerate(padded, 1)}
    return script("die").states([values], cards.perplexity_die().config)[0]


def test_what_the_die_says() -> None:
    for faces in (2, 5, 12):
        fair = die([3] * faces)
        assert fair["big"] == f"{faces}.0 faces" and fair["before_exp"] == fair["after_exp"] == f"{faces}.0"
        assert fair["before_bits"] == f"{math.log2(faces):.2f}"
    loaded = die([2, 1, 1], rolled=2)  # probabilities 1/2, 1/4, 1/4: 1.5 bits, and 2 bits if face 2 comes
    assert (loaded["before_bits"], loaded["after_bits"]) == ("1.50", "2.00")
    assert (loaded["big"], loaded["after_exp"]) == ("2.8 faces", "4.0")
    assert loaded["fill3@width"] == f"{34 * (2**1.5 - 2):.1f}" and loaded["die4@visibility"] == "hidden"
    certain, impossible = die([5, 0, 0]), die([5, 0, 0], rolled=3)
    assert (certain["big"], certain["before_nats"], certain["after_exp"]) == ("1.0 faces", "0.00", "1.0")
    assert "called impossible" in impossible["summary"] and impossible["after_nats"] == "∞"
    assert die([0, 0, 0])["summary"].startswith("Every weight is 0")
    assert die([1, 1], rolled=9)["rolled_text"] == "face 2"


def test_the_rolls_are_the_die_s_and_their_mean_comes_to_the_entropy() -> None:
    probs, js = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64), script("die")
    means = js.call("meansOf", probs.tolist(), 2000, 3)
    drawn = js.call("(n) => { const next = randomNumbers(3); return Array.from({ length: n }, next); }", 2000)
    faces = (torch.tensor(drawn).double()[:, None] >= probs.cumsum(0)).sum(1)
    surprisals = -probs[faces].log()
    assert means == pytest.approx((surprisals.cumsum(0) / torch.arange(1, 2001)).tolist())
    entropy = torch.special.entr(probs).sum().item()
    assert abs(means[-1] - entropy) < 3 * (surprisals.std() / 2000**0.5).item() < abs(means[0] - entropy)
    assert js.call("meansOf", probs.tolist(), 50, 3) == means[:50] != js.call("meansOf", probs.tolist(), 50, 4)


def test_what_the_rolled_die_says() -> None:
    loaded = die([2, 1, 1, 0], rolls=400)  # surprisals of 1 and 2 bits, equally often
    assert loaded["rolls"].startswith("400 rolls: mean surprisal 1.0") and loaded["x_end"] == "400"
    assert loaded["rolls"].endswith(f"Expected: {1.5 * math.log(2):.2f} ± {0.5 * math.log(2) / 20:.2f}.")
    assert loaded["curve@d"].count("L") == 199 + 1 and loaded["dot@visibility"] is None
    assert die([2, 1, 1], rolls=400, seed=2)["curve@d"] != loaded["curve@d"]
    fair = die([3] * 6, rolls=100)
    assert fair["rolls"] == f"100 rolls: mean surprisal {math.log(6):.2f} nats. Every roll has the same surprisal."
    assert die([3] * 6)["rolls"] == "not rolled yet" and die([0, 0], rolls=100)["rolls"] == "no die to roll"
    assert die([3] * 6, rolls=2000)["button_roll@disabled"] == "" and fair["button_roll@disabled"] is None


def mean(predictor: dict, i: int) -> float:
    return sum(group[0] * group[i] for group in predictor["groups"])


@pytest.mark.parametrize("loss", [0.2, 0.69, 1.0, math.log(55), 4.0, 10.82])
def test_the_uncertain_predictor_is_calibrated_at_any_loss(loss: float) -> None:
    found = script("predictors").call("uncertainPredictor", loss)
    assert mean(found, 2) == pytest.approx(loss) and mean(found, 1) == pytest.approx(loss)
    assert found["accuracy"] == found["confidence"] and sum(g[0] for g in found["groups"]) == pytest.approx(1)
    assert found["accuracy"] * found["hit"] + (1 - found["accuracy"]) * found["miss"] == pytest.approx(loss)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("loss", [2.4, 4.0, 10.8])
def test_the_betting_predictor_has_the_same_loss(loss: float, confidence: float) -> None:
    found = script("predictors").call("bettingPredictor", loss, confidence, V)
    probs = torch.full((V,), (1 - confidence) / (V - 1), dtype=torch.float64)  # slow oracle: the whole distribution
    probs[3] = confidence
    assert mean(found, 2) == pytest.approx(loss)
    assert mean(found, 1) == pytest.approx(torch.special.entr(probs).sum().item())
    assert [found["hit"], found["miss"]] == pytest.approx((-probs[[3, 0]].log()).tolist())
    assert found["confidence"] == confidence
    if (loss, confidence) == (4.0, 0.9):  # where the card begins
        assert cards.unsure_or_wrong().table[-1][2] == f"{found['miss']:.2f}"


def test_a_small_loss_is_out_of_reach_of_a_timid_bet() -> None:
    card = cards.unsure_or_wrong()
    assert script("predictors").call("bettingPredictor", 0.5, 0.6, V) is None  # -ln 0.6 = 0.51
    ends = {"loss": 0, "confidence": 0}  # the least loss, the lowest confidence
    (state,) = script("predictors").states([first_positions(card) | ends], card.config)
    assert "Raise the confidence above" in state["summary"] and state["b_accuracy"] == "–"
    assert state["b0@width"] == "0.0"
