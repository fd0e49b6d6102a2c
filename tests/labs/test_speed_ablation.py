"""The harness and the ablation on it: rounds, changes that are kept or left out, ratios, the record, the command."""

import json
import runpy
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import runtime
from helpers.gpt import GPTConfig, preset
from helpers.labs import budget, speed
from tests.support import refused

TINY = GPTConfig(vocab_size=101, context_length=16, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.3)
PEAK = 1e9
LATER = ("fused-adamw", "chunked-loss")
MEMORY = {"status": "failed", "reason": "out of memory: much", "out_of_memory": True}


class Processes:
    """Stands in for fresh processes: remembers the jobs, and answers as a test says for a step and a round."""

    def __init__(self) -> None:
        self.answers, self.speeds, self.jobs, self.asked = {}, {}, [], []

    def __call__(self, command: list[str], env: dict, **rest):
        function, job = command[-3], json.loads(command[-2])
        assert int(env["COURSE_THREADS"]) >= 1
        if function.endswith("cpu_peak"):
            self.asked.append(job["precision"])
            return self.done({"status": "ok", "flops": PEAK * len(self.asked), "source": "measured"})
        assert "TORCHINDUCTOR_CACHE_DIR" in env
        name = job["changes"][-1]
        turn = sum(done == name for done, _ in self.jobs)
        self.jobs.append((name, job))
        rounds = self.speeds.get(name, [[16.0, 8.0, 4.0]])
        speeds = rounds[turn % len(rounds)]
        usual = {
            "status": "ok", "machine": {"chip": "A chip", "torch": "7"}, "precision": "float32",
            "speeds": speeds, "tokens_per_s": sorted(speeds)[len(speeds) // 2], "batch_size": job["timed_batch_size"],
            "compile_s": 9.0 if "compile" in job["changes"] else None, "peak_bytes": 2**20, "losses": [4.0],
            "grad_norms": [1.0],
        }  # fmt: skip
        return self.done(self.answers.get(name, usual))

    @staticmethod
    def done(report: dict) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess([], 0, json.dumps(report) + "\n", "")


@pytest.fixture
def processes(monkeypatch) -> Processes:
    stand_in = Processes()
    monkeypatch.setattr("subprocess.run", stand_in)
    return stand_in


def ablate(**changes) -> speed.Record:
    return speed.ablate(TINY, **{"batch_size": 2, "context_length": 8, "device": "cpu"} | changes)


def row(record: speed.Record, name: str):
    return next(row for row in record.rows if row.name == name)


def test_a_process_that_skips_and_ones_that_break():
    found = speed.harness.run("helpers.labs.speed.update:require", {"changes": ["tf32"], "device": "cpu"}, threads=1)
    assert (found["status"], found["reason"].split(":")[0]) == ("skipped", "no TF32")
    assert (found["machine"]["torch"], found["machine"]["threads"]) == (torch.__version__, 1)
    found = speed.harness.run("helpers.labs.speed.machine:cpu_peak", {"precision": "float3"}, threads=1)
    assert found["status"] == "failed" and "AttributeError" in found["reason"] and "exit code 1" in found["reason"]
    found = speed.harness.run("torch:empty", {"size": [2**60]}, threads=1)
    assert found["status"] == "failed" and found["out_of_memory"] and found["reason"].startswith("out of memory")


def test_memory_that_ran_out_is_told_from_other_errors():
    errors = (torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError(), RuntimeError("illegal memory access"))
    assert [runtime.out_of_memory(error) for error in errors] == [True, True, False]


def test_rounds_are_interleaved_and_ratios_paired_within_them(monkeypatch):
    """The machine is twice as fast in the second round: the ratio of each round is 3, 3 and 4, whatever the medians."""
    order, lines = [], []
    speeds = iter([10, 30, 20, 60, 10, 40])

    def run(function, job, threads, environment):
        order.append(job["n"])
        return {"status": "ok", "speed": next(speeds)}

    monkeypatch.setattr(speed.harness, "run", run)
    rounds = speed.harness.run_rounds("a:b", {"slow": {"n": 1}, "fast": {"n": 2}}, 3, 7, lines.append)
    assert order == [1, 2] * 3 and lines[2] == "round 2 of 3: slow"
    assert speed.harness.ratio("fast", "speed", "slow", rounds) == {"median": 3, "min": 3, "max": 4}
    assert speed.harness.median("fast", "speed", rounds) == 40
    assert speed.harness.spread(speed.harness.ratio("fast", "speed", "slow", rounds)) == "3.00 (3.00 to 4.00)"
    rounds[1]["fast"] = MEMORY
    assert speed.harness.problem("fast", rounds) == MEMORY and speed.harness.problem("slow", rounds) is None
    assert speed.harness.ratio("fast", "speed", "other", rounds) is None


def test_two_real_steps():
    assert speed.machine.cpu_peak("float32", size=np.int16(64))["flops"] > 0
    record = ablate(steps=["chunked-loss", "float32"], updates=2, threads=1, measure_peaks=False)
    assert [(r.name, r.status, r.agrees) for r in record.rows] == [(n, "ok", True) for n in ("float32", "chunked-loss")]
    assert record.rows[1].times_first == record.rows[1].times_before > 0
    assert all(r.share_of_peak is None and r.peak_bytes > 0 for r in record.rows) and not record.peaks
    assert record.machine["torch"] == torch.__version__ and record.machine["threads"] == 1
    assert record.settings["config"]["drop_rate"] == 0


def test_ratios_and_peaks(processes, tmp_path: Path):
    """Twice as fast a machine in the second round: the ratio of each round is 2 and 4, whatever the medians."""
    processes.speeds = {"float32": [[2.0, 2.0], [4.0, 4.0]], "half": [[4.0, 4.0], [16.0, 16.0]]}
    record = ablate(steps=["float32", "half"], rounds=np.int32(2), updates=np.int32(2), threads=np.int32(1))
    assert record == speed.Record.read(record.write(tmp_path / "record.json")), "numpy's numbers are stored as any"
    assert [name for name, _ in processes.jobs] == ["float32", "half"] * 2
    half = row(record, "half")
    assert (half.times_before, half.times_first) == (3.0, 3.0)
    assert (half.tokens_per_s, half.slowest, half.fastest) == ((4 + 16) / 2, 4.0, 16.0)
    assert record.peaks["float32"]["flops"] == 2 * PEAK, "the best of two"
    assert half.share_of_peak == pytest.approx(3 * budget.matmul_flops_per_token(TINY, 8) * 10 / (2 * PEAK))


def test_each_change_is_kept_and_the_batch_grows_last(processes):
    ablate()
    n_steps = len(speed.ablation.in_order(None, "cpu"))
    assert [len(job["changes"]) for _, job in processes.jobs] == list(range(1, n_steps + 1))
    assert [job["timed_batch_size"] for _, job in processes.jobs] == [2] * (n_steps - 1) + [4]
    assert processes.jobs[-1][1]["batch_size"] == 2


@pytest.mark.parametrize(
    ("report", "kept"),
    [
        ({"status": "skipped", "reason": "no bfloat16 instructions"}, False),
        ({"status": "failed", "reason": "Error: broken (exit code 1)"}, False),
        (MEMORY, True),
    ],
)
def test_a_step_that_did_not_run_is_reported_and_not_tried_again(report, kept, processes):
    processes.answers = {"half": report}
    record = ablate(steps=["float32", "half", *LATER], rounds=2)
    assert [name for name, _ in processes.jobs].count("half") == 1
    assert all(("half" in job["changes"]) == kept for name, job in processes.jobs if name in LATER)
    half = row(record, "half")
    assert (half.status, half.reason, half.tokens_per_s) == (report["status"], report["reason"], None)
    assert report["reason"] in str(record) and report["reason"] in record.cells()[1]
    assert row(record, "fused-adamw").times_before == 1.0, "beside the step before it that ran"
    assert len(record.measured) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(({name: n}, f"{name} must be") for name, n in (("batch_size", 0), ("rounds", 1.5), ("threads", 0))),
        ({"context_length": 17}, "17 exceeds"),
        ({"steps": ["fast"]}, "steps are float32, tf32.*'fast'"),
        ({"steps": []}, "got none"),
        ({"device": "mps"}, "cpu or cuda"),
    ],
)
def test_ablate_refuses(changes, says, processes):
    refused(says, ablate, **changes)
    assert not processes.jobs


def main(monkeypatch, *arguments: str) -> int:
    """The exit code of `python -m helpers.labs.speed`, in this process."""
    monkeypatch.setattr("sys.argv", ["speed", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("helpers.labs.speed", run_name="__main__")
    return ended.value.code


def test_a_record_is_written_and_read(processes, tmp_path):
    processes.answers = {"compile": {"status": "skipped", "reason": "no C++ compiler (g++)"}}
    record = ablate(steps=["float32", "half", "compile"])
    path = record.write(tmp_path / "folder" / "record.json")
    assert speed.Record.read(path) == record
    text = path.read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "no C++ compiler" in text
    assert record.label == f"A chip, {runtime.threads_in_words(record.machine['threads'])}"
    assert runtime.threads_in_words(1) == "1 thread" and runtime.threads_in_words(2) == "2 threads"
    assert all(len(cells) == len(speed.COLUMNS) for cells in record.cells())
    refused("", speed.Record.read, tmp_path / "other.json", error=FileNotFoundError)
    of_the_course = speed.Record.read(Path(__file__).parents[2] / "notebooks" / "data" / "ablation_cpu.json")
    assert [row.name for row in of_the_course.measured] == list(speed.ablation.in_order(None, "cpu"))
    assert all(row.agrees for row in of_the_course.rows)


def test_foreign_and_damaged_files_are_refused(processes, tmp_path):
    path = ablate(steps=["float32"]).write(tmp_path / "record.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    (first,) = content["rows"]
    for damaged, says in (
        ([], "TypeError"),
        (content | {"rows": [first | {"speed": 1}]}, "speed"),
        (content | {"rows": [first | {"tokens_per_s": None}]}, "NoneType"),
        (content | {"settings": {}}, "config"),
    ):
        path.write_text(json.dumps(damaged), encoding="utf-8")
        refused(rf"record\.json is no record.*{says}", speed.Record.read, path)
    path.write_bytes(b"\xff\xfe")
    refused(r"record\.json is no record that Record\.write made", speed.Record.read, path)


def test_the_command_prints_a_table_and_writes_the_record(processes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--preset", "course-small", "--device", "cpu", "--context-length", "64", "--rounds", "1"]
    assert main(monkeypatch, *arguments) == 0
    record, shown = speed.Record.read("ablation_cpu.json"), capsys.readouterr()
    assert str(record) in shown.out and "larger-batch" in shown.err
    assert record.settings["config"] == replace(preset("course-small"), drop_rate=0.0).__dict__
    assert row(record, "compile").compile_s == 9.0
    processes.answers["half"] = {
        "status": "ok", "precision": "float32", "speeds": [1.0], "tokens_per_s": 1.0, "batch_size": 4,
        "compile_s": None, "peak_bytes": 1, "losses": [5.0], "grad_norms": [1.0],
    }  # fmt: skip
    assert main(monkeypatch, *arguments, "--steps", "float32", "half", "--output", "record.json") == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_the_command_line_refuses(processes, capsys, monkeypatch):
    for wrong in (["--batch-size", "0"], ["--steps", "fast"]):
        assert main(monkeypatch, "--device", "cpu", *wrong) == 2
        assert "error" in capsys.readouterr().err and not processes.jobs
