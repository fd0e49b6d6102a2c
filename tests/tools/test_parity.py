"""The comparison of whole published models, on small ones: it finds parity, and it finds a fault."""

import pytest

from helpers.gpt import preset
from helpers.storage import weights
from tests.support import faulty
from tools import parity

SMALL = dict(vocab_size=61, context_length=24, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.0)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    monkeypatch.setattr(parity, "preset", lambda name: preset(name, **SMALL))
    monkeypatch.setattr(parity, "LENGTH", 20)


@pytest.mark.parametrize("name", ["gpt2-124m", "opt-125m"])
def test_all_is_equal(name):
    row = parity.compare(name) | {"name": name}
    assert row["equal"], row
    assert 0 < row["n_params"] < 100_000
    assert "the same" in parity.table([row]) and "NOT EQUAL" not in parity.table([row])


def test_a_fault_in_one_layer_is_found(monkeypatch):
    monkeypatch.setattr(parity.weights, "load", faulty(weights.load, 0.01))
    row = parity.compare("gpt2-124m") | {"name": "gpt2-124m"}
    assert not row["equal"] and "NOT EQUAL" in parity.table([row])


def test_a_process_that_broke_is_not_equal(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(parity.speed.harness, "run", lambda *job: asked.append(job) or {"reason": "killed"})
    assert parity.main(["--models", "opt-125m"]) == 1
    assert asked[0][:2] == ("tools.parity:compare", {"name": "opt-125m"})
    assert "killed" in capsys.readouterr().out
