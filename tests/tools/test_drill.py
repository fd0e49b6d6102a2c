"""The short form of `make drill`: a run that is killed five times ends as if nobody had touched it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import drill

ROOT = Path(__file__).resolve().parents[2]


def test_five_kills():
    command = [sys.executable, "-m", "tools.drill", "--kills", "5", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = {line[:40].strip(): line[40:].split()[0] for line in done.stdout.splitlines() if line[40:].strip()}
    resumed, again = int(counted["resumed"]), int(counted["killed again before it said from where"])
    end = f"5 kills, {resumed} resumed, {again} killed again before it said so, all weights equal"
    assert done.stdout.splitlines()[-1] == end and resumed + again == 5 and resumed >= 1
    assert int(counted["while starting up"]) + int(counted["after some updates"]) == 5
    assert int(counted["after some updates"]) >= 1


def planted(tmp_path: Path, monkeypatch, made: dict[str, str]) -> drill.Tally:
    """A drill whose runs never die, the disturbed ones with an outcome of their own."""

    class Immortal:
        def __init__(self, train, folder, name):
            self.out, self.said = folder / name, folder / f"{name}.said"

        def wait(self):
            return True

    def end(train, folder, name, n_kills, draw, seconds, tally):
        tally.kills = tally.from_a_checkpoint = n_kills
        write_outcome(folder / name, made)

    monkeypatch.setattr(drill, "warm", lambda: None)
    monkeypatch.setattr(drill, "Child", Immortal)
    monkeypatch.setattr(drill, "until_it_ends", end)
    write_outcome(tmp_path / "undisturbed", {})
    return drill.drill(3, 0, tmp_path)


def write_outcome(out: Path, made: dict[str, str]) -> None:
    content = dict.fromkeys(drill.WEIGHTS, "weights") | {
        "log.jsonl": json.dumps({"kind": "update", "step": 0, "loss_nats": 1.5, "seconds": 7.0}) + "\n"
    }
    for name, text in (content | made).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)


LINE = '{"kind": "update", "step": 0, "loss_nats": 1.5, "seconds": 9.0}\n'


def test_equal_runs_pass_whatever_they_took(tmp_path, monkeypatch):
    assert planted(tmp_path, monkeypatch, {"log.jsonl": LINE}).unequal == []


@pytest.mark.parametrize(
    ("name", "text"),
    [*((name, "other") for name in drill.WEIGHTS), ("log.jsonl", LINE * 2), ("log.jsonl", LINE.replace("1.5", "1.6"))],
)
def test_another_outcome_is_seen(tmp_path, monkeypatch, name, text):
    assert planted(tmp_path, monkeypatch, {name: text}).unequal == [f"run-00: {name}"]


def test_a_failed_drill_says_so(monkeypatch, capsys):
    monkeypatch.setattr(
        drill, "drill", lambda *_: drill.Tally(kills=3, from_a_checkpoint=3, unequal=["run-00: log.jsonl"])
    )
    assert drill.main(["--kills", "3"]) == 1
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("3 kills, 3 resumed, 0 killed again before it said so, NOT")
    )
    monkeypatch.setattr(drill, "drill", lambda *_: drill.Tally(kills=3, from_a_checkpoint=1, from_the_beginning=1))
    assert drill.main([]) == 1
    with pytest.raises(SystemExit):
        drill.main(["--kills", "0"])


@pytest.mark.parametrize(
    ("said", "start", "ended", "counts"),
    [
        ("going on from step 4 (there)\n", 4, False, (1, 0, 0)),
        ("going on from step 4 (there)\n", 4, True, (1, 0, 0)),
        ("step 0 · 0 tokens\n", None, True, (0, 1, 0)),
        ("", 4, False, (0, 0, 1)),
        ("", None, False, (0, 0, 1)),
        ("", None, True, (0, 0, 0)),  # no kill that was resumed: the drill fails
    ],
)
def test_a_kill_counts_as_resumed_where_the_next_process_says_so(tmp_path, said, start, ended, counts):
    child = SimpleNamespace(out=tmp_path / "run", said=tmp_path / "said")
    child.said.write_text(said, encoding="utf-8")
    tally = drill.Tally(kills=1)
    drill.note_resumption(child, start, ended, tally)
    assert (tally.from_a_checkpoint, tally.from_the_beginning, tally.killed_before_it_said) == counts
    assert tally.resumed == sum(counts[:2]) and tally.unequal == []
