"""The climb: rounds, changes that are kept or left out, ratios, the record and its files, the table, the figure."""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

from helpers.gpt import GPTConfig, preset
from helpers.labs import budget, speed
from helpers.labs.speed import PUBLISHED, Record, _climb, _command

TINY = GPTConfig(vocab_size=101, context_length=16, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.3)
PEAK = 1e9
ON = {
    "tf32": "tf32", "half": "half", "fused_attention": "fused-attention", "fused_optimizer": "fused-adamw",
    "chunked_loss": "chunked-loss",
    "compiled": "compile", "padded_vocabulary": "padded-vocabulary", "larger_batch": "larger-batch",
}  # fmt: skip


class Workers:
    """Stands in for processes: remembers the jobs, and answers with what a test planted for a rung and a round."""

    def __init__(self, planted: dict | None = None, seconds: dict | None = None) -> None:
        self.planted, self.seconds, self.jobs, self.asked = planted or {}, seconds or {}, [], []

    def __call__(self, worker: str, job: dict, threads: int, extra: dict) -> dict:
        assert "TORCHINDUCTOR_CACHE_DIR" in extra and threads >= 1
        if worker.endswith("_product"):
            self.asked.append(job["precision"])
            return {"status": "ok", "flops": PEAK * len(self.asked), "source": "measured"}
        name = next((ON[s] for s in reversed(list(job["switches"])) if job["switches"][s]), "float32")
        self.jobs.append((name, job))
        if name in self.planted:
            return self.planted[name]
        turn = sum(done == name for done, _ in self.jobs) - 1
        rounds = self.seconds.get(name, [[1.0, 2.0, 4.0]])
        return {
            "status": "ok", "chip": "A chip", "card_bytes": None, "precision": "float32",
            "seconds": rounds[turn % len(rounds)],
            "timed_rows": job["timed_rows"], "compile_s": 9.0 if job["switches"]["compiled"] else None,
            "peak_bytes": 2**20, "losses": [4.0], "grad_norms": [1.0], "threads": threads,
        }  # fmt: skip


@pytest.fixture
def workers(monkeypatch) -> Workers:
    stand_in = Workers()
    monkeypatch.setattr(_climb, "run_worker", stand_in)
    return stand_in


def a_record(workers: Workers) -> Record:
    workers.planted = {"compile": {"status": "skipped", "reason": "no C++ compiler (g++)"}}
    return speed.climb(TINY, 2, 8, device="cpu", rungs=["float32", "half", "compile"])


# --- The climb ---


def test_two_real_rungs():
    torch.set_num_threads(1)
    record = speed.climb(
        TINY, 2, rungs=["chunked-loss", "float32"], device="cpu", updates=2, threads=1, measure_peaks=False
    )
    assert [(row.name, row.status, row.agrees) for row in record.rows] == [
        ("float32", "ok", True), ("chunked-loss", "ok", True),
    ]  # fmt: skip
    assert record.rows[1].times_first == record.rows[1].times_before > 0
    assert all(row.share_of_peak is None and row.peak_bytes > 0 for row in record.rows) and not record.peaks
    assert record.machine["torch"] == torch.__version__ and record.machine["threads"] == 1
    assert record.settings["config"]["drop_rate"] == 0


def test_rounds_are_interleaved_and_ratios_paired(workers):
    """Twice as fast a machine in the second round: the ratio of each round is 2 and 4, whatever the medians."""
    workers.seconds = {"float32": [[8.0, 8.0], [4.0, 4.0]], "half": [[4.0, 4.0], [1.0, 1.0]]}
    record = speed.climb(TINY, 2, 8, ["float32", "half"], device="cpu", rounds=2, updates=2)
    assert [name for name, _ in workers.jobs] == ["float32", "half"] * 2
    row = record.row("half")
    assert (row.times_before, row.times_first) == (3.0, 3.0)
    assert (row.tokens_per_s, row.slowest, row.fastest) == ((4 + 16) / 2, 4.0, 16.0)
    assert record.peaks["float32"]["flops"] == 2 * PEAK, "the best of both rounds"
    expected = 3 * budget.matmul_flops_per_token(TINY, 8) * 10 / (2 * PEAK)
    assert row.share_of_peak == pytest.approx(expected)


def test_each_change_is_kept_and_the_batch_grows_last(workers):
    speed.climb(TINY, 2, device="cpu")
    switched = [sum(job["switches"].values()) for _, job in workers.jobs]
    assert switched == list(range(len(speed.names_for("cpu"))))
    assert [job["timed_rows"] for _, job in workers.jobs] == [2] * (len(switched) - 1) + [4]
    speed.climb(TINY, 2, device="cpu", rungs=["larger-batch"], larger_batch=7)
    assert workers.jobs[-1][1]["timed_rows"] == 7 and workers.jobs[-1][1]["batch_size"] == 2


@pytest.mark.parametrize(
    ("report", "kept"),
    [
        ({"status": "skipped", "reason": "no bfloat16 instructions"}, False),
        ({"status": "failed", "reason": "Error: broken (exit code 1)"}, False),
        ({"status": "failed", "reason": "out of memory: much", "out_of_memory": True}, True),
    ],
)
def test_a_rung_that_did_not_run_is_reported_and_not_tried_again(report, kept, workers):
    workers.planted = {"half": report}
    record = speed.climb(TINY, 2, device="cpu", rungs=["float32", "half", "fused-adamw", "chunked-loss"], rounds=2)
    assert [name for name, _ in workers.jobs].count("half") == 1
    assert all(job["switches"]["half"] == kept for name, job in workers.jobs if name in ("fused-adamw", "chunked-loss"))
    row = record.row("half")
    assert (row.status, row.reason, row.tokens_per_s) == (report["status"], report["reason"], None)
    assert report["reason"] in str(record) and report["reason"] in record.table().markup
    assert record.row("fused-adamw").times_before == 1.0, "beside the rung below it that ran"
    assert len(record.measured) == 3


def test_a_first_rung_without_memory_leaves_the_next_as_the_first(workers):
    workers.planted = {"float32": {"status": "failed", "reason": "out of memory: much", "out_of_memory": True}}
    record = speed.climb(TINY, 2, device="cpu", rungs=["float32", "half"])
    assert record.row("half").check == "the first" and record.row("half").times_before is None


def test_a_rung_that_differs_is_said(workers, monkeypatch, tmp_path):
    def wrong_in_half(worker: str, job: dict, **rest) -> dict:
        report = workers(worker, job, **rest)
        return report | {"losses": [4.0 + job["switches"]["half"]]} if "switches" in job else report

    monkeypatch.setattr(_climb, "run_worker", wrong_in_half)
    arguments = ["--preset", "course-small", "--device", "cpu", "--rungs", "float32", "half"]
    assert _command.main([*arguments, "--output", str(tmp_path / "record.json")]) == 1
    record = Record.read(tmp_path / "record.json")
    assert record.row("float32").agrees and record.row("half").agrees is False
    assert "DIFFERS" in str(record)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"context_length": 17}, "17 exceeds"),
        ({"updates": 0}, "updates"),
        ({"warmup": -1}, "warmup must be a whole number of at least 0"),
        ({"rounds": 1.5}, "rounds"),
        ({"threads": 0}, "threads"),
        ({"larger_batch": 0}, "larger_batch"),
        ({"rungs": ["fast"]}, "'fast'"),
        ({"device": "mps"}, "cpu or cuda"),
        ({"memory_limit_gib": 15}, "on a card, got 15 on cpu"),
    ],
)
def test_climb_refuses(changes, says, workers):
    with pytest.raises(ValueError, match=says):
        speed.climb(TINY, **{"batch_size": 2, "device": "cpu"} | changes)
    assert not workers.jobs


def test_a_limited_card_is_called_that(workers, monkeypatch):
    monkeypatch.setattr(_climb, "check_device", lambda device: None)
    record = speed.climb(TINY, 2, device="cuda", rungs=["float32"], memory_limit_gib=14.75)
    assert workers.jobs[0][1]["memory_limit_gib"] == 14.75
    assert record.label == "A chip, memory limited to 14.75 GiB"
    assert record.peaks == {} and record.rows[0].share_of_peak is None and "not known" in str(record)


# --- The record ---


def test_a_record_is_written_and_read(workers, tmp_path):
    record = a_record(workers)
    path = record.write(tmp_path / "folder" / "record.json")
    assert Record.read(path) == record
    text = path.read_text(encoding="utf-8")
    assert str(tmp_path) not in text and "no C++ compiler" in text
    assert record.label == f"A chip, {record.machine['threads']} threads"
    with pytest.raises(ValueError, match="no rung 'tf32'"):
        record.row("tf32")
    with pytest.raises(FileNotFoundError):
        Record.read(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda c: [], "of the kind"),
        (lambda c: c | {"kind": "memory"}, "of the kind"),
        (lambda c: c | {"version": 0}, "expected version 1, got 0"),
        (lambda c: c | {"rows": []}, "no rung"),
        (lambda c: {k: v for k, v in c.items() if k != "machine"}, "machine"),
        (lambda c: c | {"rows": [c["rows"][0] | {"speed": 1}]}, "speed"),
        (lambda c: c | {"rows": [c["rows"][0] | {"tokens_per_s": None}]}, "lacks a number"),
        (lambda c: c | {"rows": [c["rows"][0] | {"status": "fine"}]}, "'fine'"),
        (lambda c: c | {"settings": {}}, "config"),
    ],
)
def test_foreign_and_damaged_files_are_refused(damage, says, workers, tmp_path):
    path = a_record(workers).write(tmp_path / "record.json")
    path.write_text(json.dumps(damage(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        Record.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"rung,tokens"])
def test_what_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"record\.json is no JSON"):
        Record.read(tmp_path / "record.json")


# --- What people see ---


def test_the_command_prints_a_table_and_writes_the_record(workers, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        _command.main(["--preset", "course-small", "--device", "cpu", "--context-length", "64", "--rounds", "1"]) == 0
    )
    record = Record.read("ladder_cpu.json")
    shown = capsys.readouterr()
    assert str(record) in shown.out and "round 1 of 1: larger-batch" in shown.err
    assert record.settings["config"] == replace(preset("course-small"), drop_rate=0.0).__dict__
    assert len(record.rows) == len(speed.names_for("cpu")) and record.row("compile").compile_s == 9.0


@pytest.mark.parametrize("wrong", [["--batch-size", "0"], ["--rungs", "fast"], ["--context-length", "9999"]])
def test_the_command_line_refuses(wrong, workers, capsys):
    with pytest.raises(SystemExit):
        _command.main(["--device", "cpu", *wrong])
    assert "error" in capsys.readouterr().err and not workers.jobs


def test_a_figure_has_a_panel_for_each_machine(workers):
    record = a_record(workers)
    drawn = speed.figure(record, record, title="claim")
    assert drawn.get_suptitle() == "claim" and len(drawn.axes) == 3
    own, published = drawn.axes[0], drawn.axes[2]
    assert own.get_title() == record.label and "published" in published.get_title()
    words = [text.get_text() for text in own.texts]
    assert "skipped" in words and len(own.patches) == 3 and own.patches[2].get_width() == 0
    assert [bar.get_width() for bar in published.patches][-1] == pytest.approx(142_156 / 12_525)
    plt.close(drawn)
    with pytest.raises(ValueError, match="nothing to draw"):
        speed.figure(title="claim", published=False)
    none_ran = replace(record, rows=(record.rows[2],))
    with pytest.raises(ValueError, match="no rung of A chip"):
        speed.figure(none_ran, title="claim")


def test_the_published_ladder_is_the_published_one():
    assert (PUBLISHED[0].tokens_per_s, PUBLISHED[-1].tokens_per_s) == (12_525, 142_156)
    speeds = [rung.tokens_per_s for rung in PUBLISHED]
    assert speeds == sorted(speeds)
    assert {rung.rung for rung in PUBLISHED if rung.rung} == set(speed.RUNGS) - {"chunked-loss"}
