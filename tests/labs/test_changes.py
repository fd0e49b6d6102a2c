"""Each change since GPT-2 alone: what is held equal, differences by hand, reading on, and a record that goes on."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.gpt import GPTConfig
from helpers.labs import changes, scaling
from tests.support import refused

ALONE = [name for name in changes.CHANGES if name not in (changes.BASE, "all five")]


@pytest.mark.parametrize("matched", changes.MATCHED)
@pytest.mark.parametrize("change", changes.CHANGES)
def test_parameters_or_flops_are_as_near_as_one_unit_of_width(change, matched):
    count, base, config = changes.MATCHED[matched], changes.config_of(changes.BASE), changes.config_of(change, matched)
    one_wider = count(replace(config, ff_dim=config.hidden_ff_dim + 1)) - count(config)
    assert abs(count(config) - count(base)) <= one_wider / 2
    for name, value in changes.CHANGES[change].items():
        assert getattr(config, name) == value != getattr(base, name)
    assert replace(config, ff_dim=base.ff_dim, **{n: getattr(base, n) for n in changes.CHANGES[change]}) == base


def test_all_five_are_the_five():
    assert changes.CHANGES["all five"] == {k: v for name in ALONE for k, v in changes.CHANGES[name].items()}
    refused("RMSNorm", changes.config_of, "ALiBi")


def runs_of(excess: dict[str, list[float]]) -> dict:
    runs = [
        {"change": change, "matched": "FLOPs", "seed": seed, "excess": value}
        for change, values in excess.items()
        for seed, value in enumerate(values)
    ]
    return {"runs": runs}


def test_differences_by_hand():
    """Pairs differ by -0.01, -0.02, -0.03: mean -0.02, and 4.303 (t, two degrees) times 0.01 / sqrt(3) on each side."""
    base = [0.30, 0.40, 0.35]
    excess = {name: base for name in changes.CHANGES} | {"SwiGLU": [0.29, 0.38, 0.32]}
    found = changes.differences(runs_of(excess), "FLOPs")
    assert set(found) == {*ALONE, "all five"}
    assert found["SwiGLU"].mean == pytest.approx(-0.02) and found["SwiGLU"].n_seeds == 3
    assert found["SwiGLU"].half_width == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert found["RMSNorm"] == (0, 0, 3, 0) and found["SwiGLU"].n_lower == 3
    alone = runs_of({name: [0.3] for name in changes.CHANGES})
    refused("two seeds or more, got 1", changes.differences, alone, "FLOPs")


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_reading_on_leaves_the_trained_positions_as_they_were(positions):
    source = scaling.authors()
    config = GPTConfig(source.vocab_size, 31, 16, 2, 1, drop_rate=0.0, tied_head=False, positions=positions)
    model = scaling.initialised(config, seed=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    short, long = (changes.excess_by_position(model, n, n_documents=40) for n in (31, 40))
    assert len(long) == 40 and all(0 < value < 6 for value in long[:1])
    documents = replace(source, n_tokens=41).sample(40, seed=2 * 10**6)  # those it was measured on
    ids, true = map(torch.from_numpy, documents)
    with torch.no_grad():
        logits = model(ids[:, :31])[..., : source.n_words]
    nll = -logits.double().log_softmax(-1).gather(-1, ids[:, 1:32, None])[..., 0]
    torch.testing.assert_close(torch.tensor(long[:31]).double(), (nll - true[:, 1:32]).mean(0), atol=1e-3, rtol=0)
    assert len(short) == 31
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_record_goes_on_where_it_was_and_makes_no_run_twice(tmp_path, monkeypatch):
    made = []

    def make(setting, rate):
        made.append((setting, rate))
        if len(made) == 30:
            raise KeyboardInterrupt
        width = changes.config_of(setting.change, setting.matched).hidden_ff_dim
        measured = dict.fromkeys(changes.MEASURED, 1.0) | {"rate": rate, "ff_dim": width, "excess": abs(rate - 0.008)}
        return setting._asdict() | measured, None

    monkeypatch.setattr(changes, "make", make)
    monkeypatch.setattr(changes, "excess_by_position", lambda model, n_words: [0.5] * n_words)
    path = tmp_path / "changes.json"
    with pytest.raises(KeyboardInterrupt):
        changes.record(path)
    changes.record(path)
    content = changes.read(path)
    assert len(content["runs"]) == 7 * 2 * 5 and len(content["search"]) == 7 * 3
    assert len(made) == 1 + 7 * 3 + 5 * 11, "three of the seven ask for one model twice"
    assert all(rate == 0.008 for _, rate in made[21:])
    assert sum("by_position" in run for run in content["runs"]) == 2 * 5


def test_the_stored_runs_are_of_these_models():
    content = changes.read()
    assert content["machine"]["threads"] == 1
    for run in content["runs"]:
        config = changes.config_of(run["change"], run["matched"])
        assert (run["ff_dim"], run["rate"]) == (config.hidden_ff_dim, changes.best_rate(content, run["change"]))
        assert {name: run[name] for name in changes.MATCHED} == {n: f(config) for n, f in changes.MATCHED.items()}
