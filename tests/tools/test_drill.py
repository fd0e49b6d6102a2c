"""The short form of `make drill`: a run that is killed five times ends as if nobody had touched it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support import refused
from tools import drill

ROOT = Path(__file__).resolve().parents[2]
LINE = '{"kind": "update", "step": 0, "loss_nats": 1.5, "seconds": 9.0}\n'


def test_five_kills():
    command = [sys.executable, "-m", "tools.drill", "--kills", "5", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {line[:40].strip(): line[40:].split()[0] for line in done.stdout.splitlines() if line[40:].strip()}
    assert done.stdout.splitlines()[-1].startswith("5 kills, ")
    assert done.stdout.splitlines()[-1].endswith(" killed again before it said so, all weights equal")
    assert int(counts["from a checkpoint"]) >= 1


def test_what_an_outcome_is(tmp_path):
    def end(**made: str) -> dict[str, str]:
        for name, text in (dict.fromkeys(drill.WEIGHTS, "weights") | {"log.jsonl": LINE} | made).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return drill.outcome(tmp_path)

    undisturbed = end()
    assert end(**{"log.jsonl": json.dumps(json.loads(LINE) | {"seconds": 7.0}) + "\n"}) == undisturbed
    for name in drill.WEIGHTS:
        assert [what for what, is_now in end(**{name: "other"}).items() if is_now != undisturbed[what]] == [name]
    for log in (LINE * 2, LINE.replace("1.5", "1.6")):
        assert end(**{"log.jsonl": log}) != undisturbed


def test_the_verdict(capsys):
    begun, resumed = {"kills": 3, "from the beginning": 1}, {"from a checkpoint": 2}
    for counts, wrong, status in (
        (begun | resumed, [], 0),
        (begun | resumed, ["run-00: other log.jsonl"], 1),
        (begun | {"from a checkpoint": 1}, [], 1),
    ):
        assert drill.verdict(Counter(counts), wrong) == status
        assert ("NOT all weights equal" in capsys.readouterr().out) == bool(status)
    refused("", drill.main, ["--kills", "0"], error=SystemExit)


def test_a_kill_counts_as_resumed_where_the_next_process_says_so():
    passed_over = "warning: step-00000004 is passed over\ngoing on from step 2 (there)"
    for said, start, ended, how in (
        ("going on from step 4 (there)\n", 4, False, "from a checkpoint"),
        ("step 0 · 0 tokens\n", None, True, "from the beginning"),
        ("", 4, False, "killed again, silent"),
        ("", None, True, "wrong: it ended without a word"),
        ("step 0 · 0 tokens\n", 4, False, "wrong: step 4 was saved"),
        (passed_over, 4, True, "wrong: step 4 was saved"),
    ):
        assert drill.resumption(said, start, ended).startswith(how)
