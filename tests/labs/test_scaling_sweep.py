"""A run of the sweep, the search for its rate, a record that is gone on with, and its verification."""

import json
import math
from pathlib import Path

import pytest
import torch

from helpers.gpt import token_losses
from helpers.labs import scaling
from tests.support import refused

SWEEP = "helpers.labs.scaling.sweep"
BEST = {"8": 0.016, "16": 0.002}  # the rate that the stand-in for training likes best


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """A sweep of two sizes whose runs are not trained; returns what was asked for: (setting, rate)."""
    asked = []

    def make(setting: scaling.Setting, rate: float) -> dict:
        asked.append((setting, rate))
        excess = 1 + abs(math.log(rate / BEST[setting.size]))
        return setting._asdict() | {"rate": rate, "excess": excess, "error": 0.01, "seconds": 1.0}

    monkeypatch.setattr(f"{SWEEP}._make", make)
    monkeypatch.setattr(f"{SWEEP}._drawn_lines", lambda: (1.0, 2.0))
    monkeypatch.setattr(f"{SWEEP}.SIZES", {"8": (8, 2), "16": (16, 2)})
    monkeypatch.setattr(f"{SWEEP}.TOKENS", (100, 300))
    monkeypatch.setattr(f"{SWEEP}.MOST_TOKENS", {"8": 300, "16": 100})
    monkeypatch.setattr(f"{SWEEP}.REPEATED", {"size": "8", "n_tokens": 300, "epochs": (2,), "seeds": (0,)})
    monkeypatch.setattr(f"{SWEEP}.TOY", {"sizes": ("8",), "tokens": (100,)})
    monkeypatch.setattr(f"{SWEEP}.SEARCH_TOKENS", {"8": (100, 300), "16": (100, 300)})
    return asked


SOURCE = scaling.authors(16, 8, 12)
OTHERS = {("authors", "8", 300, 0, 2), ("toy", "8", 100, 0, 1)}  # repeated text, and the toy language


def test_a_run_depends_on_its_setting_alone():
    torch.manual_seed(5)
    first, again, other = (scaling.train_once(SOURCE, 8, 1, 6_000, 1e-2, seed=seed) for seed in (1, 1, 2))
    assert first.excess == again.excess != other.excess and 0 < first.error < 0.1
    untrained = scaling.word_excess(scaling.model(SOURCE, 8, 1, seed=1), SOURCE, scaling.validation(SOURCE)).mean()
    assert 0 < first.excess < untrained - 0.1
    runs = [scaling.train_once(SOURCE, 8, 1, 12_000, 1e-2, epochs=epochs) for epochs in (1, 16)]
    assert runs[1].excess > runs[0].excess + 0.05  # 68 documents, seen 16 times in as many updates
    says = "n_documents must be a whole number of at least 1, got 0"
    refused(says, scaling.train_once, SOURCE, 8, 1, 300, 1e-2, epochs=16)


def test_the_excess_is_the_loss_minus_the_true_loss_of_the_same_words():
    gpt = scaling.model(SOURCE, 8, 1)
    token_ids, true_nll = scaling.validation(SOURCE)
    with torch.no_grad():
        logits = gpt(token_ids[:, :-1])[..., : SOURCE.n_words]
    losses = token_losses(logits, token_ids[:, 1:]).double()
    mean = scaling.word_excess(gpt, SOURCE, scaling.validation(SOURCE)).mean().item()
    assert mean == pytest.approx((losses.mean() - true_nll[:, 1:].mean()).item(), abs=1e-5)
    assert not (SOURCE.sample(len(token_ids), 10**6 + 1).token_ids == token_ids.numpy()).all()


def test_how_the_model_begins():
    gpt = scaling.model(scaling.authors(16, 8, 12), 32, 3)
    assert gpt.blocks[0].attention.qkv.weight.std().item() == pytest.approx(32**-0.5, rel=0.1)
    assert gpt.token_embedding.weight.std().item() == pytest.approx(1, rel=0.15)


def test_the_search_stops_between_two_worse_rates_and_every_run_has_the_best(small: list[tuple], tmp_path: Path):
    path = tmp_path / "scaling.json"
    scaling.record(path, BEST)
    content = scaling.read(path)
    for size, best in BEST.items():
        for n_tokens in (100, 300):
            tried = {t["rate"] for t in content["search"] if (t["size"], t["n_tokens"]) == (size, n_tokens)}
            assert {best / 2, best, best * 2} <= tried and len(tried) <= 6
        assert scaling.best_rate(content, size, 10_000) == scaling.best_rate(content, size, 1) == best
    assert {(run["size"], run["rate"]) for run in content["runs"]} == set(BEST.items())
    grid = {("authors", *of, seed, 1) for of in (("8", 100), ("8", 300), ("16", 100)) for seed in (0, 1)}
    assert {tuple(run.values())[:5] for run in content["runs"]} == {*grid, *OTHERS}
    for emb_dim, n_layers, n_params in content["protocol"]["sizes"].values():
        assert n_params == sum(p.numel() for p in scaling.model(SOURCE, emb_dim, n_layers).blocks.parameters())
    assert content["machine"]["threads"] >= 1 and content["protocol"]["n_validation_words"] >= 100_000


def test_rates_lie_between_those_of_the_two_searches():
    content = {
        "search": [
            {"size": "8", "n_tokens": n, "rate": rate, "excess": excess}
            for n, rate, excess in ((62_000, 0.01, 2.0), (62_000, 0.02, 3.0), (620_000, 0.04, 1.0))
        ]
    }
    middle = scaling.best_rate(content, "8", math.sqrt(62_000 * 620_000))
    assert middle == pytest.approx(0.02) and scaling.best_rate(content, "8", 1e9) == pytest.approx(0.04)
    refused("no search for size 16", scaling.best_rate, content, "16", 1e5)


def test_an_interrupted_record_is_gone_on_with(small: list[tuple], tmp_path: Path):
    path = tmp_path / "scaling.json"
    scaling.record(path, sizes=["8"])
    whole, n_asked = scaling.read(path), len(small)
    whole["runs"] = whole["runs"][:1] + whole["runs"][2:]
    path.write_text(json.dumps(whole))
    scaling.record(path, BEST)
    assert small[n_asked][0].size == "16" and {s.size for s, _ in small[n_asked:]} == {"8", "16"}
    again = [setting for setting, _ in small[n_asked:] if setting.size == "8"]
    assert len(again) == 1 and len(scaling.read(path)["runs"]) == 6 + len(OTHERS)
    refused("no size named 5; there are 8, 16", scaling.record, path, sizes=["5"])


def test_verification_finds_a_run_that_does_not_come_again(small: list[tuple], tmp_path: Path, capsys):
    path = tmp_path / "scaling.json"
    scaling.record(path, BEST)
    assert scaling.verify(3, path) and "3 of 3 runs within two error bars" in capsys.readouterr().out
    content = scaling.read(path)
    for run in content["runs"]:
        run["excess"] += 0.021
    path.write_text(json.dumps(content))
    assert not scaling.verify(3, path) and "0 of 3" in capsys.readouterr().out
