"""The benchmark: its baselines against the course's model, every variant's numbers, and what the command says."""

import json
import os
import platform
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from helpers.gpt import GPT, GPTConfig, TrainConfig, Trainer
from helpers.labs import speed
from tests.support import lively, refused
from tools.bench import __main__ as bench
from tools.bench import memory, plain, variants

# distinct primes, so that a transposed axis cannot pass
TINY = GPTConfig(101, 13, emb_dim=21, n_heads=3, n_layers=2, drop_rate=0.0, tied_head=False, qkv_bias=False)
N_STEPS, B, PROMPT_LENGTH, NEW = 12, 5, 5, 19
WRITING = replace(TINY, context_length=31, tied_head=True, qkv_bias=True)
LEARNING_RATE = 5e-3


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """These models are too small for two, whose waiting for each other would take most of the time."""
    monkeypatch.setattr(speed.machine, "has_bfloat16", lambda cpuinfo: True)
    torch.set_num_threads(1)


def some_batches(n: int, T: int = 13) -> list[tuple[torch.Tensor, torch.Tensor]]:
    ids = torch.randint(101, (n, B, T + 1))
    return [(rows[:, :-1], rows[:, 1:]) for rows in ids]


def twins(config: GPTConfig = TINY) -> tuple[GPT, plain.Baseline]:
    ours = lively(GPT(config)).train()
    return ours, plain.plain_gpt(ours)


def our_losses(model: GPT, batches: list, **changes: object) -> list[float]:
    settings = {"learning_rate": LEARNING_RATE, "min_lr_ratio": 1.0, "clip_norm": None}
    config = TrainConfig(n_steps=N_STEPS, **(settings | changes))
    return [update.loss_nats for update in Trainer(model, batches, config)]


def test_plain_logits_and_gradients_are_those_of_the_course_model():
    ours, slow = twins()
    token_ids, targets = some_batches(1)[0]
    torch.testing.assert_close(slow(token_ids), ours(token_ids))
    F.cross_entropy(slow(token_ids).flatten(0, 1), targets.flatten()).backward()
    F.cross_entropy(ours(token_ids).flatten(0, 1), targets.flatten()).backward()
    theirs = slow.blocks[1].attention
    thirds = torch.cat([theirs.query.weight.grad, theirs.key.weight.grad, theirs.value.weight.grad])
    torch.testing.assert_close(ours.blocks[1].attention.qkv.weight.grad, thirds)
    torch.testing.assert_close(ours.final_norm.bias.grad, slow.final_norm.bias.grad)
    assert sum(p.numel() for p in slow.parameters()) == ours.n_params, "a parameter of one has no counterpart"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nanogpt_s_shape_makes_the_updates_of_the_course_s_trainer(precision):
    ours, batches = twins(replace(TINY, tied_head=True))[0], some_batches(3) * (N_STEPS // 3)
    nano = plain.nano_gpt(ours)
    torch.testing.assert_close(nano(batches[0][0]), ours(batches[0][0]))
    optimizer = plain.nano_optimizer(nano)
    found = [plain.nano_step(nano, optimizer, *batch, precision) for batch in batches]
    settings = {"learning_rate": plain.LEARNING_RATE, "weight_decay": plain.WEIGHT_DECAY, "clip_norm": 1.0}
    expected = our_losses(ours, batches, precision=precision, **settings)
    assert found == pytest.approx(expected, rel=1e-5 if precision == "float32" else 1e-2)
    assert [plain.nano_optimizer(nano, fused).defaults["fused"] for fused in (None, True)] == [False, True]


def test_the_baselines_refuse_what_they_do_not_have():
    for changes in ({"linear_bias": False}, {"activation": "gelu"}, {"position_offset": 2}):
        for build in (plain.plain_gpt, plain.nano_gpt):
            refused("book-124m", build, GPT(replace(TINY, **changes)))


@pytest.fixture(scope="module")
def plain_loss() -> float:
    return trained("plain")["first_loss"]


def trained(variant: str) -> dict:
    config = asdict(replace(TINY, drop_rate=0.2))
    return variants.train(variant, config, batch_size=B, warmup=1, steps=2, device="cpu")


@pytest.mark.parametrize("variant", list(variants.TRAINING))
def test_each_variant_trains_and_begins_with_one_loss(variant, plain_loss):
    found = trained(variant)
    assert found["first_loss"] == pytest.approx(plain_loss, rel=1e-5)
    assert found["tokens_per_s"] > 0 <= found["peak_bytes"]
    tied = variant not in ("plain", "helpers-untied")
    biases = 2 * 3 * 21 if variant == "transformers" else 0
    assert found["n_params"] == GPT(replace(TINY, tied_head=tied)).n_params + biases


def written(variant: str, **changes: object) -> dict:
    usual = {"config": asdict(WRITING), "prompt_length": PROMPT_LENGTH, "new_tokens": [3, NEW], "repeats": 2}
    return variants.write(variant, **usual | {"device": "cpu"} | changes)["lengths"]


@pytest.mark.parametrize("variant", list(variants.GENERATION))
def test_each_variant_writes_what_a_loop_by_hand_writes(variant):
    torch.manual_seed(variants.SEED)
    model = variants.lively(WRITING)
    expected = torch.randint(101, (1, PROMPT_LENGTH))[0].tolist()
    with torch.no_grad():
        for _ in range(NEW):
            expected.append(int(model(torch.tensor([expected]))[0, -1].argmax()))
    expected = expected[PROMPT_LENGTH:]
    assert len(set(expected)) > 4, "a text that repeats one token proves little"
    found = written(variant)
    half = variant.endswith("bf16")
    assert half or [found[n]["tokens"] for n in ("3", str(NEW))] == [expected[:3], expected]
    for n_new, numbers in found.items():
        assert len(numbers["tokens"]) == int(n_new) and numbers["tokens_per_s"] > 0
        # keys and values of 2 layers, 21 numbers each; the last token is never read, though ours has room for it
        position = 2 * 2 * 21 * (2 if half else 4) * (variant != "plain")
        assert numbers["cache_bytes"] == position * (PROMPT_LENGTH + int(n_new) - variant.startswith("transformers"))


def test_without_instructions_bfloat16_is_skipped(monkeypatch):
    monkeypatch.setattr(speed.machine, "has_bfloat16", lambda cpuinfo: False)
    for measure in (trained, written):
        refused("no bfloat16 instructions", measure, "helpers-bf16", error=speed.harness.Skip)


@pytest.mark.parametrize("part", ["training", "generation"])
def test_one_real_variant_of_one_part(part, monkeypatch, tmp_path, capsys):
    config = replace(WRITING, activation="relu", context_length=16)
    monkeypatch.setattr(bench, "preset", lambda name, **changes: config)
    for name, value in (("SIZES", {"course-small": (2, 16)}), ("STEPS", 1), ("NEW_TOKENS", (3, 11))):
        monkeypatch.setattr(bench, name, value)
    for name in ("TRAINING", "GENERATION"):
        monkeypatch.setattr(bench, name, ("plain", "helpers"))
    output = tmp_path / "bench.json"
    assert bench.main(["--only", part, "--rounds", "1", "--threads", "1", "--output", str(output)]) == 0
    text = output.read_text(encoding="utf-8")
    assert str(speed.harness.ROOT) not in text and list(json.loads(text))[1].startswith(part)
    shown = capsys.readouterr().out
    assert "failed: ValueError: the baselines have" in shown and "\nhelpers  " in shown
    assert bench.agreement([1, 2, 4], [1, 2, 3]) == 2


@pytest.mark.parametrize("wrong", ["0", "many", "1.5"])
def test_the_command_line_refuses(wrong, capsys):
    refused("", bench.parse, ["--rounds", wrong], error=SystemExit)
    assert f"whole number of at least 1, got '{wrong}'" in capsys.readouterr().err


# memory: fresh processes measure what was predicted, and the record says where

NEXT_TO_NOTHING = {"vocab_size": 64, "context_length": 8, "emb_dim": 16, "n_layers": 1}
SHORT = {"vocab_size": 4096, "context_length": 128, "n_layers": 2}
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's switch gives freed memory back")


@pytest.fixture(scope="module")
def libraries_bytes() -> int:
    """What a first update takes where the model is next to nothing; a build of torch with CUDA loads more."""
    return memory.peak_of(memory.Setting("tiny", "1m", 1, NEXT_TO_NOTHING), "cpu")


@needs_glibc
@pytest.mark.skipif(torch.version.cuda is not None, reason="the prediction knows torch's build for CPUs")
def test_libraries_take_what_was_assumed(libraries_bytes):
    assumed = memory.SETTINGS[0].predicted("cpu").overhead_bytes
    assert libraries_bytes == pytest.approx(assumed, rel=0.2)  # other versions of torch may take more


@needs_glibc
@pytest.mark.parametrize(
    "setting",
    [
        memory.Setting("short, dropout", "1m", 64, SHORT | {"drop_rate": 0.1}),
        memory.Setting("short, squares", "1m", 64, SHORT, chunked_loss=False, fused_attention=False),
    ],
)
def test_a_fresh_process_holds_what_was_predicted(setting, libraries_bytes):
    predicted = setting.predicted("cpu").tensors_bytes
    assert predicted == pytest.approx(memory.peak_of(setting, "cpu") - libraries_bytes, rel=0.15)
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ


def test_the_command_measures_some_and_predicts_others_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "folder" / "record.json"
    monkeypatch.setattr(speed.harness, "run", lambda function, job, threads, environment: {
        "status": "ok", "peak_bytes": 2**28 if environment else 2**29})  # fmt: skip
    assert bench.main(["--only", "memory", "--settings", "1M", "--output", str(path)]) == 0
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert "1M" in [row["name"] for row in rows] and "124M" not in [row["name"] for row in rows]
    assert rows[0]["measured_bytes"] == 2**28
    assert rows[0]["torch"] == torch.__version__ and rows[0]["chip"] and rows[0]["date"] >= "2026"
    assert "farthest off" in capsys.readouterr().out
    monkeypatch.setattr(speed.harness, "run", lambda *job: {"status": "failed", "reason": "killed"})
    assert bench.main(["--only", "memory", "--settings", "--output", str(path)]) == 0, "nothing is measured"
    assert json.loads(path.read_text(encoding="utf-8"))["rows"] == rows
    refused("killed", memory.peak_of, memory.SETTINGS[0], "cpu", error=RuntimeError)
