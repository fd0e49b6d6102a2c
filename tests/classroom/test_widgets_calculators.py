"""The memory and the cost calculator without a browser: their scripts against `helpers.labs.budget`."""

import itertools
from dataclasses import asdict

import pytest

from helpers.classroom import cards
from helpers.gpt import GPTConfig, preset
from helpers.labs import budget
from tests.cards import FOLDER, first_positions, script
from tests.support import refusals_of

GIB = 2**30
TIGHT = {"fused_attention": False, "chunked_loss": False}
SWITCHES = ("fused_attention", "gradient_checkpointing", "chunked_loss")
NONE_ON = dict.fromkeys(SWITCHES, False)
PARTS = 6  # weights, optimizer's moments, gradients, copies, activations, logits


def grid(card: cards.Card) -> list[dict]:
    """Every model, precision, optimizer, switch and GPU; the three sliders go through all their stops."""
    stops = script("memory").call("stopsOf", card.config)
    n = {name: len(stops[name]) for name in ("batch", "tokens", "kept")}
    names = ("model", "precision", "optimizer", *SWITCHES, "room")
    sizes = (len(card.config["models"]), 3, 2, 2, 2, 2, len(card.config["rooms"]))
    settings = []
    for i, setting in enumerate(itertools.product(*map(range, sizes))):
        sliders = (5 * i % n["batch"], (i + i // 8) % n["tokens"], bool(i % 3) * (i // 3 % n["kept"]))
        settings.append(dict(zip((*names, *n), (*setting, *sliders), strict=True)))
    for name, stop in n.items():
        assert {values[name] for values in settings} == set(range(stop)), name
    return settings


def predicted(run: dict, models: dict[str, GPTConfig], name: str) -> budget.Memory:
    """`budget.memory` of the run that the script has at some setting of its controls."""
    given = {name: run[name] for name in ("precision", "optimizer")} | {name: bool(run[name]) for name in SWITCHES}
    given |= {"kept_logits_for_evaluation": run["kept"], "device": "cuda"}
    return budget.memory(models[name], run["B"], run["T"], **given)


@pytest.mark.parametrize("drop_rate", [0.0, 0.1])
def test_the_memory_is_the_budget_s_to_the_byte_over_a_grid(drop_rate: float) -> None:
    """Each phase's parts, the peak and where it stands, in every switch; the card itself has no dropout."""
    card, js = cards.memory_calculator("gpt2-124m", 16, 1024, **TIGHT), script("memory")
    models = {name: preset(name, drop_rate=drop_rate) for name in card.config["models"]}
    settings = grid(card)
    both = """(all, config, dropout) => all.map((v) => { const run = { ...runAt(v, config), dropout };
      return [run, memory(run)]; })"""
    for values, (run, found) in zip(settings, js.call(both, settings, card.config, drop_rate > 0), strict=True):
        expected = predicted(run, models, list(models)[values["model"]])
        phases = [[*parts.values()] for parts in expected.parts_by_phase().values()]
        assert [phase["parts"] for phase in found["phases"] if phase] == phases, (values, run)
        assert all(len(parts) == PARTS for parts in phases) and found["peak"] == expected.peak_bytes
        assert js.call("(i) => PHASES[i]", found["phase"]) == expected.phase
    assert len(settings) == 1152


def test_the_advice_is_that_of_fits() -> None:
    """What each change alone comes to, and which of them together are enough."""
    js, card, verdicts = script("memory"), cards.memory_calculator(), set()
    models = {name: preset(name, drop_rate=0.0) for name in card.config["models"]}
    ask = """(run, room) => [CHANGES.map((change) => memory(change(run, room)).peak), together(run, room)]"""
    all_off = [_run(card, "gpt2-124m", 64, "float32", NONE_ON, kept) for kept in (10**8, 0)]
    fitted = [budget.fits(predicted(run, models, "gpt2-124m"), 2) for run in all_off]
    names = [change.what for fit in fitted for change in fit.changes]
    assert names == [what for what, _ in card.config["changes"]] and len(names) == js.call("() => CHANGES.length") == 6
    switchings = itertools.product((False, True), repeat=3)
    for (name, batch, room), on in itertools.product(
        (("gpt2-355m", 64, 14), ("gpt2-1558m", 16, 14), ("opt-125m", 12, 14), ("gpt2-774m", 512, 79)), switchings
    ):
        run = _run(card, name, batch, "float32", dict(zip(SWITCHES, on, strict=True)), 30_000)
        fit = budget.fits(predicted(run, models, name), room * GIB)
        peaks, together = js.call(ask, run, room * GIB)
        if not fit.fits:
            assert [peak for peak in peaks if peak < fit.peak_bytes] == [change.peak_bytes for change in fit.changes]
            assert [names[k] for k in together] == list(fit.together)
        verdicts.add((fit.fits, bool(fit.together)))
    assert verdicts == {(True, False), (False, True), (False, False)}


def _run(card: cards.Card, name: str, batch: int, precision: str, switches: dict, kept: int) -> dict:
    model = card.config["assumed"] | card.config["models"][name]
    return model | {"B": batch, "T": 1024, "precision": precision, "optimizer": "adamw", "kept": kept} | switches


def test_what_is_assumed_and_advised_stands_in_python_alone() -> None:
    js, card = script("memory"), cards.memory_calculator()
    run = _run(card, "gpt2-124m", 2, "float32", NONE_ON | {"chunked_loss": True}, 0)
    nothing = {"chunk_tokens": 0, "moments": {"adamw": 0}, "cuda_context": 0, "cuda_fragments": 0}
    found = js.call("memory", run | nothing)
    assert found["overhead"] == found["phases"][0]["parts"][1] == found["phases"][0]["parts"][PARTS - 1] == 0
    source = (FOLDER / "memory.js").read_text(encoding="utf-8")
    assert [text for _, text in card.config["changes"] if text in source] == []


def test_the_texts_of_the_memory_calculator() -> None:
    js, card = script("memory"), cards.memory_calculator("gpt2-124m", 16, 1024, **TIGHT)
    start = first_positions(card)
    fits, too_much, short = js.states([start | {"room": 2}, start, start | {"model": 0}], card.config)
    assert fits["verdict"] == "It fits" and fits["limit@style"] == "left:100.00%"
    assert too_much["summary"] == card.sentence
    expected = budget.memory(preset("gpt2-124m", drop_rate=0.0), 16, 1024, **TIGHT, device="cuda")
    for i, (phase, held) in enumerate(expected.phases.items()):
        whole = sum(float(fits[f"s{i}{j}@style"][6:-1]) for j in range(PARTS + 1))
        n_bytes = held + expected.overhead_bytes
        assert whole == pytest.approx(100 * n_bytes / card.config["rooms"]["A100 40 GB"], abs=0.05)
        assert fits[f"size{i}"] == budget.readable_bytes(n_bytes) and (phase, fits[f"size{i}"]) in card.table
    assert [too_much[key] for key in ("verdict", "sign", "frame@class")] == ["It does not fit", "✗", "mc-card mc-bad"]
    assert too_much["enough"].startswith("✗ Change, the cheapest first: ")
    assert "sequence" in too_much["then3"] and too_much["then0"] == "no effect"
    assert short["tokens_text"] == "128 tokens, its longest" and "of 128 tokens" in short["summary"]
    assert (short["size3"], short["s30@style"]) == ("–", "width:0.00%")


test_the_calculators_refuse = refusals_of(
    lambda make, wrong: make(**wrong),
    (cards.memory_calculator, {"model": "gpt5"}, "model must be one of course-small, .*, got 'gpt5'"),
    (cards.memory_calculator, {"batch_size": 0}, r"batch_size must be a whole number in \[1, 4096\], got 0"),
    (cards.memory_calculator, {"context_length": 2049}, r"must be a whole number in \[1, 2048\], got 2049"),
    (cards.cost_calculator, {"n_tokens": 1e5}, "n_tokens must be a number in .*, got 100000.0"),
    (cards.cost_calculator, {"tokens_per_s": float("nan")}, "tokens_per_s"),
    (cards.cost_calculator, {"price_per_hour": -1}, r"must be a number in \[0.1, 1000\] or 0, got -1"),
    (cards.cost_calculator, {"watts": 0}, r"watts must be a number in \[10, 1e\+06\] or None, got 0"),
    (cards.cost_calculator, {"hours_available": 0.1}, "hours_available"),
)


def test_the_cost_is_the_budget_s_over_a_grid() -> None:
    card, js = cards.cost_calculator(2.5e9, 1234.5, 8.5, watts=400), script("calculator")
    n = {name: len(stops) for name, stops in js.call("stopsOf", card.config).items()}
    settings = [{name: (7 * i + i * i * k) % m for k, (name, m) in enumerate(n.items())} for i in range(600)]
    settings += [{name: last * (m - 1) for name, m in n.items()} for last in (0, 1)]
    both = "(all, config) => all.map((v) => { const run = runAt(v, config); return [run, costOf(run)]; })"
    verdicts = set()
    for (run, found), state in zip(js.call(both, settings, card.config), js.states(settings, card.config), strict=True):
        taken = budget.cost(run["tokens"], run["rate"], run["price"], run["watts"])
        assert found["hours"] == pytest.approx(taken.hours, rel=1e-12)
        assert found["cost"] == pytest.approx(taken.money, rel=1e-12)
        assert found["kwh"] is None if taken.kwh is None else found["kwh"] == pytest.approx(taken.kwh, rel=1e-12)
        late, dear = taken.hours > run["hours"], run["money"] is not None and taken.money > run["money"]
        said = ["It fits", "Too expensive", "Too long", "Too long and too expensive"][2 * late + dear]
        assert state["verdict"] == said and state["time"] == budget.readable_time(3600 * taken.hours)
        assert (state["sign"] == "✗") == ("bc-bad" in state["frame@class"]) == (said != "It fits")
        verdicts.add(said)
    assert len(verdicts) == 4


@pytest.mark.parametrize(
    ("moved", "verdict", "way"),
    [
        ({}, "It fits", "✓ Nothing has to change: 3.0 hours and R$ 7.00 stay."),
        ({"hours": 0.5}, "Too long", "or save, and go on over 2 sessions."),
        ({"money": 1}, "Too expensive", "or pay at most R$ 1.00 an hour."),
        ({"hours": 0.5, "money": 1}, "Too long and too expensive", "at most 12 million tokens"),
    ],
)
def test_time_and_money_run_out(moved: dict, verdict: str, way: str) -> None:
    card, js = cards.cost_calculator(36e6, 10_000, 3), script("calculator")  # an hour, three of money
    stops = js.call("stopsOf", card.config)
    places = {name: stops[name].index(value) for name, value in ({"money": 10} | moved).items()}
    (state,) = js.states([first_positions(card) | places], card.config)
    assert state["verdict"] == verdict and way in state["enough"]
    assert state["summary"].startswith(card.sentence[:50])


def test_what_it_says_to_change_is_just_enough() -> None:
    """Slow oracle: `budget.cost` of the changed run stands on the limit."""
    js, run = script("calculator"), asdict(budget.cost(2.5e9, 12_525, 8.5)) | {"tokens": 2.5e9, "rate": 12_525}
    hours = 200 / 8.5  # that the money pays for
    n_tokens, speed = js.call("tokensIn", run, hours), js.call("speedIn", run, hours)
    assert budget.cost(n_tokens, 12_525, 8.5).money == pytest.approx(200)
    assert budget.cost(2.5e9, speed, 8.5).money == pytest.approx(200)


def test_five_hours_in_numbers() -> None:
    card = cards.cost_calculator(54e6, 3000, 1.2, watts=70)
    (state,) = script("calculator").states([first_positions(card)], card.config)
    assert (state["time"], state["cost"], state["energy"], state["sessions"]) == (
        "5.0 hours", "R$ 6.00", "0.35 kWh", "2 × 4.0 hours",
    )  # fmt: skip
    assert state["enough"] == (
        "✗ Change one: read at most 43.2 million tokens, or reach 3,750 tokens/s, 1.25 times this speed, "
        "or save, and go on over 2 sessions."
    )
    assert state["summary"] == card.sentence
    assert state["t1"] == "✓ 1.2 hours" and ("A100, first step", "12,525", "1.2 hours") in card.table


def test_stops_are_round_and_hold_the_exact_numbers() -> None:
    stops = script("calculator").call("roundSteps", [0.1, 1000], [2.345])
    assert stops[0] == 0.1 and stops[-1] == 1000 and 2.345 in stops and 1.5 in stops and 1.2 in stops
    assert stops == sorted(set(stops)) and len(stops) == 4 * 24 + 2
