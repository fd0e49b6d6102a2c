"""The benchmark: its plain GPT against the course's fast path, step by step, and the harness on a tiny model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer, preset
from helpers.labs import measuring
from tools.bench import __main__ as bench
from tools.bench import plain, report, worker
from tools.bench.variants import VARIANTS

# distinct primes, so that a transposed axis cannot pass
TINY = GPTConfig(
    vocab_size=101, context_length=13, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0, tied_head=False, qkv_bias=False
)
N_STEPS, B = 12, 5
LEARNING_RATE = 5e-3


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """These models are too small for two, whose waiting for each other would take most of the time."""
    monkeypatch.setenv("COURSE_THREADS", "1")
    torch.set_num_threads(1)


def twins(config: GPTConfig = TINY) -> tuple[GPT, plain.PlainGPT]:
    ours, slow = GPT(config), plain.PlainGPT(config)
    with torch.no_grad():  # biases and norms too: zeros and ones would hide a mistake
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    plain.copy_to_plain(ours, slow)
    return ours, slow


def plain_losses(model: torch.nn.Module, batches: list[worker.Batch]) -> list[float]:
    """What plain_step finds, with the decay on matrices alone as the Trainer has it."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), foreach=False)
    return [plain.plain_step(model.train(), optimizer, *batch) for batch in batches]


def our_losses(model: GPT, batches: list[worker.Batch], **changes: object) -> list[float]:
    settings = {"learning_rate": LEARNING_RATE, "min_lr_ratio": 1.0, "clip_norm": None}
    config = TrainConfig(n_steps=N_STEPS, **(settings | changes))
    return [update.loss_nats for update in Trainer(model, batches, config)]


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_the_fast_path_has_the_loss_curve_of_the_plain_one(qkv_bias):
    ours, slow = twins(replace(TINY, qkv_bias=qkv_bias))
    batches = worker.make_batches(TINY, B, 3, "cpu") * (N_STEPS // 3)
    expected = plain_losses(slow, batches)
    assert our_losses(ours, batches) == pytest.approx(expected, rel=2e-5)
    assert expected[-1] < expected[0] - 0.5, "the curve must move, or its equality says little"


def test_micro_batches_keep_the_curve_and_bfloat16_stays_near_it():
    batches = worker.make_batches(TINY, B, 3, "cpu") * (N_STEPS // 3)
    torch.manual_seed(1)
    expected = plain_losses(twins()[1], batches)
    for changes, within in [({"micro_batch_size": 2}, 2e-5), ({"precision": "bfloat16"}, 2e-2)]:
        torch.manual_seed(1)
        assert our_losses(twins()[0], batches, **changes) == pytest.approx(expected, rel=within)


def test_plain_logits_and_gradients_are_those_of_the_course_model():
    ours, slow = twins()
    token_ids, targets = worker.make_batches(TINY, B, 1, "cpu")[0]
    torch.testing.assert_close(slow(token_ids), ours(token_ids))
    F.cross_entropy(slow(token_ids).flatten(0, 1), targets.flatten()).backward()
    F.cross_entropy(ours(token_ids).flatten(0, 1), targets.flatten()).backward()
    query, key, value = ours.blocks[1].attention.qkv.weight.grad.chunk(3)
    theirs = slow.blocks[1].attention
    torch.testing.assert_close(torch.stack([query, key, value]), torch.stack(
        [theirs.query.weight.grad, theirs.key.weight.grad, theirs.value.weight.grad]))  # fmt: skip
    torch.testing.assert_close(ours.final_norm.bias.grad, slow.final_norm.shift.grad)


def test_plain_parts_are_the_formulas():
    x = torch.linspace(-4, 4, 21)
    torch.testing.assert_close(plain.PlainGELU()(x), F.gelu(x, approximate="tanh"), atol=1e-6, rtol=1e-5)
    norm = plain.PlainLayerNorm(3, 0.5)
    # mean 2, variance 2/3 over all three numbers: 1 / sqrt(2/3 + 1/2)
    torch.testing.assert_close(norm(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([-1.0, 0.0, 1.0]) * (6 / 7) ** 0.5)


@pytest.mark.parametrize("place", ["dropout", "blocks.0.dropout", "blocks.0.attention.dropout"])
def test_plain_dropout_works_in_three_places(place):
    model = plain.PlainGPT(TINY).train()
    token_ids = worker.make_batches(TINY, B, 1, "cpu")[0][0]
    assert torch.equal(model(token_ids), model(token_ids))
    model.get_submodule(place).p = 0.5
    assert not torch.equal(model(token_ids), model(token_ids))
    rates = [m.p for m in plain.PlainGPT(replace(TINY, drop_rate=0.3)).modules() if isinstance(m, torch.nn.Dropout)]
    assert rates == [0.3] * 5


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_weights_come_back_from_the_plain_model(qkv_bias):
    ours, slow = twins(replace(TINY, qkv_bias=qkv_bias))
    assert sum(p.numel() for p in slow.parameters()) == ours.n_params, "a parameter of one has no counterpart"
    back = GPT(ours.config)
    plain.copy_from_plain(slow, back)
    for (name, mine), other in zip(ours.named_parameters(), back.parameters(), strict=True):
        assert torch.equal(mine, other), name
        assert mine.data_ptr() != other.data_ptr()


def test_plain_refuses_what_it_does_not_have():
    for changes in ({"tied_head": True}, {"linear_bias": False}, {"activation": "gelu"}, {"position_offset": 2}):
        with pytest.raises(ValueError, match="book-124m"):
            plain.PlainGPT(replace(TINY, **changes))
    with pytest.raises(ValueError, match="one config"):
        plain.copy_to_plain(GPT(replace(TINY, drop_rate=0.5)), plain.PlainGPT(TINY))
    with pytest.raises(ValueError, match="one config"):
        plain.copy_from_plain(plain.PlainGPT(TINY), GPT(replace(TINY, tied_head=True)))
    assert plain.PlainGPT(preset("book-124m", n_layers=1, vocab_size=11)).config.context_length == 256


def tiny_job(variant: str, **changes: object) -> dict:
    config = {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}
    return {"variant": variant, "config": config, "batch_size": B, "warmup_steps": 1, "timed_steps": 2} | changes


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_each_variant_reports_its_numbers(variant, monkeypatch):
    monkeypatch.setattr(measuring.machine, "has_bfloat16", lambda cpuinfo: True)
    found = worker.measure(worker.Job(**tiny_job(variant)))
    assert found["status"] == "ok"
    assert found["tokens_per_s"] > 0
    assert 0 <= found["peak_above_imports_bytes"] < found["peak_bytes"]
    assert len(found["losses"]) == 3
    assert all(abs(loss - math.log(101)) < 2 for loss in found["losses"])
    config = replace(TINY, tied_head=VARIANTS[variant].tied)
    assert found["n_params"] == GPT(config).n_params + (0 if variant != "transformers" else 2 * 3 * 21)  # qkv biases


def test_without_instructions_bfloat16_is_skipped(monkeypatch):
    monkeypatch.setattr(measuring.machine, "has_bfloat16", lambda cpuinfo: False)
    found = worker.measure(worker.Job(**tiny_job("helpers-bf16")))
    assert (found["status"], found["reason"]) == ("skipped", "no bfloat16 instructions")


def test_batches_are_two_views_of_the_same_ids_each_step_anew():
    first, second = worker.make_batches(TINY, B, 2, "cpu")
    assert first[0].shape == first[1].shape == (B, 13)
    assert torch.equal(first[0][:, 1:], first[1][:, :-1])
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"variant": "fast"}, "helpers-bf16"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"timed_steps": 0}, "timed_steps"),
        ({"warmup_steps": 0}, "warmup_steps"),
        ({"device": "tpu"}, "cpu or cuda"),
    ],
)
def test_job_refuses(changes, says):
    with pytest.raises(ValueError, match=says):
        worker.Job(**(tiny_job("plain") | changes))


def test_job_refuses_a_card_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--device cpu"):
        worker.Job(**tiny_job("plain", device="cuda"))


def test_the_names_of_the_command_line_are_those_of_the_variants():
    assert list(bench.VARIANT_NAMES) == list(VARIANTS)
    assert report.BASELINE in VARIANTS


def test_a_run_writes_numbers_and_failures_and_no_path(tmp_path, capsys, monkeypatch):
    """Two real workers, one of which fails: there is no plain version with ReLU."""
    monkeypatch.setattr(bench, "preset", lambda name, **changes: replace(TINY, activation="relu", tied_head=True))
    output = tmp_path / "folder" / "bench.json"
    arguments = ["--rounds", "1", "--steps", "1", "--warmup", "1", "--threads", "1", "--output", str(output)]
    assert bench.main([*arguments, "--only", "training", "--variants", "plain", "helpers"]) == 0
    text = output.read_text(encoding="utf-8")
    result = json.loads(text)["training"]
    assert result["summary"]["plain"]["status"] == "failed"
    assert "book-124m" in result["summary"]["plain"]["reason"]
    assert result["summary"]["helpers"]["tokens_per_s"] > 0
    assert result["summary"]["helpers"]["speed_ratio"] is None
    assert result["rounds"][0]["helpers"]["threads"] == 1
    assert str(measuring.processes.ROOT) not in text
    shown = capsys.readouterr().out
    assert "failed: ValueError" in shown and "helpers" in shown


def a_report(tokens_per_s: float, peak: int) -> dict:
    return {
        "status": "ok", "tokens_per_s": tokens_per_s, "peak_bytes": peak + 100, "peak_above_imports_bytes": peak,
        "n_params": 7,
    }  # fmt: skip


def test_ratios_are_paired_within_their_round():
    """The machine is twice as fast in the second round: the ratio of each round is 3, 3 and 4, whatever the medians."""
    pairs = [(10, 30), (20, 60), (10, 40)]
    rounds = [{"plain": a_report(slow, 200), "helpers": a_report(fast, 50)} for slow, fast in pairs]
    summary = report.summarise(rounds)
    assert summary["helpers"]["speed_ratio"] == {"median": 3, "min": 3, "max": 4, "n": 3}
    assert summary["helpers"]["peak_ratio"]["median"] == 0.25
    assert (summary["plain"]["tokens_per_s"], summary["plain"]["peak_bytes"]) == (10, 300)
    rounds[1]["helpers"] = {"status": "failed", "reason": "killed"}
    assert report.summarise(rounds)["helpers"] == {"status": "failed", "reason": "killed"}
    with pytest.raises(ValueError, match="one round"):
        report.summarise([])


def test_rounds_are_interleaved(monkeypatch):
    order = []
    monkeypatch.setattr(measuring.processes, "run_worker", lambda *job: order.append(job) or a_report(1, 1))
    rounds = measuring.processes.run_rounds("tools.bench.worker", {"plain": {"a": 1}, "helpers": {"b": 2}}, 2, 7)
    assert order == [("tools.bench.worker", {"a": 1}, 7), ("tools.bench.worker", {"b": 2}, 7)] * 2
    assert [list(round_) for round_ in rounds] == [["plain", "helpers"]] * 2


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--steps", "many"], ["--variants", "fast"], ["--preset", "x"]])
def test_the_command_line_refuses(wrong, capsys):
    with pytest.raises(SystemExit):
        bench.parse(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_machine_reads_the_processor():
    intel = "model name\t: A 7 Processor\nflags\t\t: sse avx512_bf16 x\n"
    assert measuring.machine.cpu_model(intel) == "A 7 Processor"
    assert measuring.machine.has_bfloat16(intel)
    assert measuring.machine.has_bfloat16("Features\t: fp asimd bf16\n")
    assert not measuring.machine.has_bfloat16("flags\t\t: sse avx512_bf16x avx512f\n")
    assert not measuring.machine.has_bfloat16("")
    assert measuring.machine.cpu_model("")


def test_peak_memory_sees_an_allocation():
    before = measuring.machine.peak_resident_bytes()
    block = torch.ones(2**26 // 4 + (before // 4))  # above everything this process has held so far
    assert measuring.machine.peak_resident_bytes() >= before + 2**26 > before
    del block
    assert measuring.machine.peak_resident_bytes() >= before + 2**26


def test_a_worker_that_says_nothing_is_reported():
    report = measuring.processes.run_worker("helpers.gpt.config", {}, 1)  # a module that ends well and prints nothing
    assert report == {"status": "failed", "reason": "helpers.gpt.config printed no report (exit code 0)"}
