"""The benchmark of generation: every variant writes the same text, and the harness reports what it measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from tools.bench.writers import WRITERS, plain_loop

from helpers.gpt import GPT, GPTConfig
from helpers.labs import measuring, speed
from tools.bench import __main__ as bench
from tools.bench import writing, writing_report

# primes but for the width, a multiple of the heads
SMALL = GPTConfig(vocab_size=101, context_length=31, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0)
PROMPT_LENGTH, NEW = 5, 19
FLOAT32 = [name for name, writer in WRITERS.items() if writer.precision == "float32"]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """These models are too small for two, whose waiting for each other would take most of the time."""
    monkeypatch.setenv("COURSE_THREADS", "1")
    torch.set_num_threads(1)


def a_job(variant: str, **changes: object) -> dict:
    usual = {"prompt_length": PROMPT_LENGTH, "new_tokens": [3, NEW], "repeats": 2}
    return {"variant": variant, "config": asdict(SMALL)} | usual | changes


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return writing.lively(SMALL)


@pytest.mark.parametrize("name", FLOAT32)
def test_float32_writes_what_a_loop_by_hand_writes(name, model):
    prompt = torch.arange(PROMPT_LENGTH)[None] * 7 % 101
    expected = prompt.tolist()[0]
    with torch.no_grad():
        for _ in range(NEW):
            expected.append(int(model(torch.tensor([expected]))[0, -1].argmax()))
    assert len(set(expected[PROMPT_LENGTH:])) > 4, "a text that repeats one token proves little"
    text, _ = WRITERS[name].build(model)[1](prompt, NEW)
    assert text.tolist() == [expected]


@pytest.mark.parametrize("name", list(WRITERS))
def test_each_variant_reports_its_numbers(name, monkeypatch):
    monkeypatch.setattr("helpers.labs.measuring.device.machine.has_bfloat16", lambda cpuinfo: True)
    found = writing.measure(writing.Job(**a_job(name)))
    assert (found["status"], list(found["lengths"])) == ("ok", ["3", str(NEW)])
    n_params = GPT(replace(SMALL, tied_head=name != "plain")).n_params
    assert found["n_params"] == n_params
    for n_new, numbers in found["lengths"].items():
        assert len(numbers["tokens"]) == int(n_new)
        assert numbers["tokens_per_s"] == pytest.approx(1 / numbers["seconds_per_token"])
        # keys and values of 2 layers, 21 numbers each; the last token is never read, though ours has room for it
        row = 2 * 2 * 21 * (2 if name.endswith("bf16") else 4) * WRITERS[name].cached
        assert numbers["cache_bytes"] == row * (PROMPT_LENGTH + int(n_new) - name.startswith("transformers"))
    assert found["lengths"]["3"]["tokens"] == found["lengths"][str(NEW)]["tokens"][:3]


def test_the_median_is_of_the_repeats_and_warm_up_is_not_timed(monkeypatch):
    written = []

    def write(prompt, n_new):
        written.append(n_new)
        return torch.zeros(1, prompt.shape[1] + n_new, dtype=torch.int64), 0

    writer = replace(WRITERS["helpers"], build=lambda model: (7, write))
    monkeypatch.setitem(WRITERS, "helpers", writer)
    clock = iter([0, 10, 20, 50, 60, 80])  # texts of 10, 30 and 20 seconds
    monkeypatch.setattr(writing.time, "perf_counter", lambda: next(clock))
    found = writing.measure(writing.Job(**a_job("helpers", new_tokens=[NEW], repeats=3)))
    assert written == [writing.WARMUP_TOKENS, NEW, NEW, NEW]
    assert found["lengths"][str(NEW)]["seconds_per_token"] == pytest.approx(20 / NEW)
    monkeypatch.undo()
    monkeypatch.setitem(WRITERS, "helpers", replace(writer, build=lambda model: (7, lambda prompt, n: (prompt, 0))))
    with pytest.raises(ValueError, match=f"expected {NEW} new tokens after 5"):
        writing.measure(writing.Job(**a_job("helpers", new_tokens=[NEW])))


@pytest.mark.parametrize("name", ["helpers-bf16", "transformers-bf16"])
def test_without_instructions_bfloat16_is_skipped(name, monkeypatch):
    monkeypatch.setattr(measuring.machine, "has_bfloat16", lambda cpuinfo: False)
    found = writing.measure(writing.Job(**a_job(name)))
    assert (found["status"], found["reason"]) == ("skipped", "no bfloat16 instructions")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"variant": "fast"}, "helpers-bf16"),
        ({"repeats": 0}, "at least 1, got 5, .* and 0"),
        ({"prompt_length": 0}, "at least 1"),
        ({"new_tokens": []}, "at least 1"),
        ({"new_tokens": [3, 0]}, "at least 1"),
        ({"new_tokens": [3, 27]}, "32 tokens does not fit the context of 31"),
        ({"device": "tpu"}, "cpu or cuda"),
    ],
)
def test_job_refuses(changes, says):
    writing.Job(**a_job("plain", new_tokens=[3, 26]))
    with pytest.raises(ValueError, match=says):
        writing.Job(**a_job("plain") | changes)


def a_report(tokens_per_s: float, tokens: list[int], cache_bytes: int = 0) -> dict:
    numbers = {"seconds_per_token": 1 / tokens_per_s, "tokens_per_s": tokens_per_s, "tokens": tokens}
    return {"status": "ok", "n_params": 7, "lengths": {"3": numbers | {"cache_bytes": cache_bytes}}}


def test_ratios_are_paired_with_both_baselines_and_tokens_are_compared():
    """The machine is twice as fast in the second round: beside plain 4, 4 and 6, beside transformers 2, 2 and 1.5."""
    rounds = [
        {
            "plain": a_report(slow, [1, 2, 3]),
            "transformers": a_report(theirs, [1, 2, 3]),
            "helpers-bf16": a_report(ours, [1, 2, 4], 500),
        }
        for slow, theirs, ours in [(10, 20, 40), (20, 40, 80), (10, 40, 60)]
    ]
    summary = writing_report.summarise(rounds, [3])
    numbers = summary["helpers-bf16"]["lengths"]["3"]
    assert numbers["x_plain"] == {"median": 4, "min": 4, "max": 6, "n": 3}
    assert numbers["x_transformers"] == {"median": 2, "min": 1.5, "max": 2, "n": 3}
    assert (numbers["tokens_per_s"], numbers["seconds_per_token"]) == (60, 1 / 60)
    assert (numbers["same_tokens"], numbers["cache_bytes"]) == (2, 500)
    assert summary["plain"]["lengths"]["3"]["same_tokens"] == 3
    for round_ in rounds:
        round_["plain"] = {"status": "failed", "reason": "killed"}
    summary = writing_report.summarise(rounds, [3])
    assert summary["plain"] == {"status": "failed", "reason": "killed"}
    assert summary["helpers-bf16"]["lengths"]["3"]["x_plain"] is None
    assert writing_report.reference(rounds) == "transformers"
    alone = writing_report.summarise([{"helpers": a_report(1, [1, 2, 3])}], [3])["helpers"]["lengths"]["3"]
    assert alone["same_tokens"] is None and alone["x_transformers"] is None
    with pytest.raises(ValueError, match="one round"):
        writing_report.summarise([], [3])


def test_the_names_of_the_command_line_are_those_of_the_variants():
    assert list(bench.WRITER_NAMES) == list(WRITERS)
    assert set(bench.UNCACHED) == {name for name, writer in WRITERS.items() if not writer.cached}
    assert set(writing_report.BASELINES) < set(WRITERS)


def test_a_run_writes_numbers_skips_and_failures(tmp_path, capsys, monkeypatch):
    """Three real workers: one fails, there is no plain version with ReLU; one meets a processor without bfloat16."""
    monkeypatch.setattr(bench, "preset", lambda name, **changes: replace(SMALL, activation="relu"))
    real = bench.run_rounds

    def run(worker, jobs, n_rounds, threads):
        found = real(worker, {name: job for name, job in jobs.items() if name != "helpers-bf16"}, n_rounds, threads)
        return [
            round_ | {"helpers-bf16": {"status": "skipped", "reason": "no bfloat16 instructions"}} for round_ in found
        ]

    monkeypatch.setattr(bench, "run_rounds", run)
    output = tmp_path / "bench.json"
    arguments = ["--only", "generation", "--rounds", "1", "--threads", "1", "--new-tokens", "3", "11"]
    names = ["plain", "helpers-no-cache", "helpers", "helpers-bf16"]
    assert bench.main([*arguments, "--output", str(output), "--variants", *names]) == 0
    result = json.loads(output.read_text(encoding="utf-8"))
    assert set(result) == {"machine", "generation"}
    summary = result["generation"]["summary"]
    assert "book-124m" in summary["plain"]["reason"]
    assert list(summary["helpers"]["lengths"]) == ["3", "11"]
    first = result["generation"]["rounds"][0]
    assert all(
        first["helpers"]["lengths"][n]["tokens"] == first["helpers-no-cache"]["lengths"][n]["tokens"]
        for n in ("3", "11")
    )
    lines = capsys.readouterr().out.splitlines()
    assert "prompt of 4 tokens" in lines[2] and "1 rounds of 3 texts (1 where nothing is cached)" in lines[2]
    assert [line.split()[:2] for line in lines if line.startswith("helpers")][:4] == [
        ["helpers-no-cache", "3"], ["helpers-no-cache", "11"], ["helpers", "3"], ["helpers", "11"],
    ]  # fmt: skip
    assert any("helpers-bf16" in line and "skipped: no bfloat16" in line for line in lines)
    assert any("plain" in line and "failed: ValueError" in line for line in lines)


@pytest.mark.parametrize(("only", "expected"), [("training", ["worker"]), ("generation", ["writing"]), (None, None)])
def test_parts_and_their_variants(only, expected, monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(bench, "run_rounds", lambda worker, jobs, *rest: asked.append((worker[12:], jobs)) or [
        {name: {"status": "failed", "reason": "not started"} for name in jobs}
    ])  # fmt: skip
    arguments = ["--output", str(tmp_path / "b.json"), "--variants", "plain", "helpers", "--repeats", "7"]
    bench.main(arguments + (["--only", only] if only else []))
    assert [worker for worker, _ in asked] == (expected or ["worker", "writing"])
    assert all(list(jobs) == ["plain", "helpers"] for _, jobs in asked)
    if only != "training":
        jobs = asked[-1][1]
        assert (jobs["plain"]["repeats"], jobs["helpers"]["repeats"]) == (1, 7)
        assert jobs["plain"]["new_tokens"] == [100, 250] and jobs["plain"]["config"]["context_length"] == 1024
        assert "not started" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--only", "both"], "--only"),
        (["--new-tokens", "0"], "--new-tokens"),
        (["--new-tokens", "1021"], "1025 tokens does not fit the context of 1024"),
        (["--variants", "helpers-untied"], "generation has none of them"),
        (["--variants", "helpers-no-cache"], "training has none of them"),
    ],
)
def test_the_command_line_refuses(wrong, says, capsys):
    with pytest.raises(SystemExit):
        bench.parse(wrong)
    assert says in capsys.readouterr().err


def test_the_plain_loop_writes_rows_side_by_side_and_leaves_the_layout_out(model):
    prompts = torch.tensor([[1, 2, 3], [50, 60, 70]])
    both = plain_loop(model, prompts, 4)
    assert both[:, :3].equal(prompts) and both.shape == (2, 7)
    assert both[1:].equal(plain_loop(speed.for_reading(model), prompts[1:], 4))
