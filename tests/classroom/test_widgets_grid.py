"""The card of recorded runs: its script against the record, what it says of diverged runs, what it refuses."""

import itertools
import json
from pathlib import Path
from statistics import fmean

import pytest

from helpers.classroom import cards
from helpers.labs import training_grid
from tests.cards import first_positions, script
from tests.support import refused

AXES = {"learning_rate": [0.01, 1.0], "warmup": [0.0, 0.1], "batch_size": [2, 16], "seed": [3, 5]}


def losses(rate: float, warmup: float, batch: int, seed: int) -> list[float]:
    """The lowest mean is that of rate 0.01, warm-up 0.1, batch 2; at rate 1 and batch 16 seed 5 is stopped."""
    end = 2.5 + 10 * (rate == 1.0) * (warmup == 0) + 0.5 * (batch == 16) - warmup + 0.01 * seed
    return [5.0, 4.0, end][: 2 if (rate, batch, seed) == (1.0, 16, 5) else 3]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    protocol = {"axes": AXES, "n_tokens": 640, "n_evaluations": 2, "context_length": 4, "n_weights": 7, "ln_V": 5.0,
                "bigram_nats": 2.7}  # fmt: skip
    runs = [{"setting": s, "losses": losses(*s)} for s in itertools.product(*AXES.values())]
    content = {"kind": "rates, warm-ups and batch sizes of the toy model", "date": "2026-01-02",
               "machine": {"chip": "<chip>"}, "protocol": protocol, "runs": runs}  # fmt: skip
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(content))
    return path


def states(card: cards.Card, *settings: tuple[int, int, int]) -> list[dict]:
    places = [dict(zip(("rate", "warmup", "batch"), s, strict=True)) for s in settings]
    return script("grid").states(places, card.config)


def test_by_hand(record: Path) -> None:
    card = cards.training_grid(record)
    best = "rate 0.01, warm-up 10 %, batch 2, with 2.44 nats (seeds: 2.43 to 2.45)."
    assert card.sentence == f"8 settings, 2 seeds each, 640 tokens a run. Lowest mean: {best}"
    assert card.table[1:] == [("0.01", "2.44", "2.94"), ("1", "2.44", "stopped")]
    assert first_positions(card) == {"rate": 0, "warmup": 1, "batch": 1}
    found, low, diverged, risen = states(card, (0, 1, 1), (0, 1, 0), (1, 1, 1), (1, 0, 0))
    assert found["summary"] == (
        "Rate 0.01, warm-up 10 %, batch 16: 2 seeds end at 2.93 to 2.95, mean 2.94 nats. 0.50 nats above the lowest "
        "mean, more than the seeds differ."
    )
    assert found["batch_text"] == "16 sequences, 10 updates"
    assert found["best_text"] == "lowest mean: rate 0.01, warm-up 10 %, batch 2"
    assert low["summary"].endswith("mean 2.44 nats. This is the lowest mean of the grid.")
    assert low["own@d"].count("L") == 2
    assert "1 seed ends at 2.93 to 2.93. 1 of 2 seeds diverged" in diverged["summary"]
    assert diverged["own@d"].count("L") == 1, "as far as every seed goes"
    assert risen["summary"].endswith("more than the seeds differ. It ended above where it began.")
    assert [key for key, value in found.items() if value == "true"] == ["cell011@aria-pressed"]
    assert "&#60;chip&#62;" in script("grid").call("view", "x", card.values, card.config)


def test_the_course_s_own_record_is_whole_and_told_right() -> None:
    content, card = training_grid.read(training_grid.RECORD), cards.training_grid()
    axes = content["protocol"]["axes"]
    names = ("learning_rate", "warmup", "batch_size")
    shapes = list(itertools.product(*(range(len(axes[name])) for name in names)))
    assert len(content["runs"]) == len(shapes) * len(axes["seed"]) and len(axes["seed"]) >= 3
    runs = {tuple(run["setting"]): run["losses"][-1] for run in content["runs"]}
    for at, state in zip(shapes, states(card, *shapes), strict=True):
        setting = [axes[name][i] for name, i in zip(names, at, strict=True)]
        ends = [runs[*setting, seed] for seed in axes["seed"]]
        assert f"end at {min(ends):.2f} to {max(ends):.2f}, mean {fmean(ends):.2f} nats" in state["summary"], setting
    lowest = min(fmean(runs[*s, seed] for seed in axes["seed"]) for s in {key[:3] for key in runs})
    (best,) = [s["summary"] for s in states(card, *shapes) if "This is the lowest mean of the grid" in s["summary"]]
    assert f"mean {lowest:.2f} nats" in best and f"with {lowest:.2f} nats" in card.sentence


def test_a_record_that_does_not_do_is_refused(record: Path) -> None:
    content = json.loads(record.read_text())
    content["runs"].pop()
    for text, said in ((json.dumps(content), "lacks 1 runs: python -m"), ("{", r"grid.json is no record .* make it")):
        record.write_text(text)
        refused(said, cards.training_grid, record)
    refused("", cards.training_grid, record.with_name("none.json"), error=FileNotFoundError)
