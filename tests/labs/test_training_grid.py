"""The recorded grid of runs: the same run twice, a diverged one, going on after an interruption, damaged records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from helpers.labs import training_grid

GRID = "helpers.labs.training_grid.grid"
SETTING = (1e-2, 0.1, 64, 1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """A grid of four runs that are not trained; returns the settings that were asked for."""
    asked = []
    monkeypatch.setattr(
        f"{GRID}.AXES", {"learning_rate": (0.1, 0.2), "warmup": (0.0,), "batch_size": (2,), "seed": (0, 1)}
    )
    monkeypatch.setattr(f"{GRID}.train_once", lambda *setting: asked.append(setting) or [5.0, 1.0 + setting[0]])
    return asked


def test_a_run_depends_on_its_setting_alone() -> None:
    torch.manual_seed(5)
    first = training_grid.train_once(*SETTING, n_tokens=20_480)
    again = training_grid.train_once(*SETTING, n_tokens=20_480)
    other = training_grid.train_once(*SETTING[:-1], 2, n_tokens=20_480)
    assert first == again != other and len(first) == 11 and first[-1] < first[0] - 0.3


def test_a_run_that_is_stopped_keeps_what_it_had() -> None:
    assert len(training_grid.train_once(3e30, 0.0, 64, 0, n_tokens=20_480)) == 1


def test_an_interrupted_record_is_gone_on_with(
    small: list[tuple], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "grid.json"
    training_grid.record(path)
    whole = json.loads(path.read_text())
    assert [run["setting"] for run in whole["runs"]] == [list(s) for s in small] and len(small) == 4
    assert whole["date"].count("-") == 2 and whole["machine"]["threads"] >= 1
    path.write_text(json.dumps(whole | {"runs": whole["runs"][1:3]}))
    training_grid.record(path)
    assert small[4:] == [small[0], small[3]] and len(training_grid.read(path)["runs"]) == 4
    assert "runs 4: " in capsys.readouterr().out


def test_a_record_of_another_grid_is_left_alone(
    small: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "grid.json"
    training_grid.record(path)
    before = path.read_bytes()
    monkeypatch.setattr(f"{GRID}.N_TOKENS", 99)
    with pytest.raises(ValueError, match="holds other runs: move it away"):
        training_grid.record(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["[]", "{}", '{"kind": 3}', "{", "[" * 10**5])
def test_a_damaged_record_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "grid.json"
    path.write_text(damage)
    with pytest.raises(ValueError, match=r"grid\.json is no record that"):
        training_grid.read(path)
