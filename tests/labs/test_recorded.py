"""The recorded runs of four labs: whole and of today, gone on with after an interruption; others are refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.labs import changes, quantise, recorded, scaling, training_grid
from tests.support import refused

ROOT = Path(__file__).parents[2]
LABS = (changes, quantise, scaling, training_grid)
each_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.__name__.rpartition(".")[2])


@each_lab
def test_the_stored_record_is_whole_and_one_of_other_runs_is_left_alone(lab, tmp_path: Path):
    path, content = tmp_path / "record.json", lab.read()
    path.write_bytes(lab.RECORD.read_bytes())
    lab.record(path)
    assert path.read_bytes() == lab.RECORD.read_bytes(), "there is nothing left to make"
    path.write_text(json.dumps(content | {"protocol": content["protocol"] | {"n_tokens": 99}}), encoding="utf-8")
    before = path.read_bytes()
    refused("holds other runs: move it away", lab.record, path)
    assert path.read_bytes() == before


@each_lab
def test_a_damaged_record_is_refused(lab, tmp_path: Path):
    path, content = tmp_path / "record.json", lab.read()
    maker, runs = lab.__name__, content["runs"]
    another, twice = content | {"kind": "another"}, content | {"runs": [*runs, runs[0]]}
    damaged = content | {"runs": [runs[0] | {"excess": float("nan")}]}
    strange = content | {"search": [3], "runs": [3]}
    parts = ({name: content[name] for name in content if name != part} for part in ("protocol", "runs"))
    for text in (
        "[]",
        "{}",
        '{"kind": 3}',
        "{",
        "[" * 10**5,
        *map(json.dumps, (another, twice, damaged, strange, *parts)),
    ):
        path.write_text(text, encoding="utf-8")
        refused(rf"record\.json is no record that {maker} made", lab.read, path)
    with pytest.raises(FileNotFoundError):
        lab.read(tmp_path / "other.json")


@each_lab
def test_a_run_that_lacks_a_number_or_says_it_in_words_is_damaged(lab, tmp_path: Path):
    path, content = tmp_path / "record.json", lab.read()
    says = rf"record\.json is no record that {lab.__name__} made"
    for part in {"search", "runs"} & set(content):
        first, *others = content[part]
        for name in set(first) - {"by_position"}:
            without = {other: first[other] for other in first if other != name}
            for wrong in (without, first | {name: {}}):
                path.write_text(json.dumps(content | {part: [wrong, *others]}), encoding="utf-8")
                refused(says, lab.read, path)
    for wrong in ({"protocol": []}, {"protocol": {}}, {"machine": None}, {"runs": {}}, {"runs": ""}):
        path.write_text(json.dumps(content | wrong), encoding="utf-8")
        refused(says, lab.read, path)


def test_a_command_ends_in_a_line(tmp_path: Path, monkeypatch, capsys):
    def record(path: Path) -> None:
        raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr("sys.argv", ["x", "--output", str(tmp_path)])
    monkeypatch.setattr("helpers.runtime.start", lambda seed: None)
    with pytest.raises(SystemExit) as stopped:
        recorded.command("changes", tmp_path, record)
    assert stopped.value.code == 2 and len(capsys.readouterr().err.splitlines()) <= 2


TWO_AT_ONCE = """
import sys
from pathlib import Path
from helpers.labs.recorded import Recorded
record = Recorded("x", Path(sys.argv[1]), "kind", lambda: {"n": 1}, ("v",))
record.fill(record.path, [(i,) for i in range(40)], lambda setting: {"setting": list(setting), "v": 1.0})
"""


def test_two_processes_fill_one_record_and_lose_no_run(tmp_path: Path):
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path / "record.json")]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    runs = json.loads((tmp_path / "record.json").read_text())["runs"]
    assert sorted(run["setting"] for run in runs) == [[i] for i in range(40)]


def test_an_interrupted_record_is_gone_on_with(tmp_path: Path, monkeypatch, capsys):
    """Four runs that are not trained, of which two are lost."""
    asked, path = [], tmp_path / "grid.json"
    axes = {"learning_rate": (0.1, 0.2), "warmup": (0.0,), "batch_size": (2,), "seed": (0, 1)}
    monkeypatch.setattr("helpers.labs.training_grid.AXES", axes)
    monkeypatch.setattr("helpers.labs.training_grid.train_once", lambda *setting: asked.append(setting) or [5.0])
    training_grid.record(path)
    whole = json.loads(path.read_text())
    assert [run["setting"] for run in whole["runs"]] == [list(s) for s in asked] and len(asked) == 4
    assert whole["date"].count("-") == 2 and whole["machine"]["threads"] >= 1
    path.write_text(json.dumps(whole | {"runs": whole["runs"][1:3]}))
    training_grid.record(path)
    assert asked[4:] == [asked[0], asked[3]] and len(training_grid.read(path)["runs"]) == 4
    assert "runs 4: " in capsys.readouterr().out
