"""What the command is given: plans, settings and texts as people have them, and one line for what is wrong."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.gpt import GPTConfig, TrainConfig, tokenizer
from helpers.labs import pretrain
from tests.labs.runs import at_record, same_end
from tests.support import refused


def prepare(folder: Path, text: Path, *validation: Path) -> None:
    pretrain.ids.prepare(folder, [text], validation, 0, pretrain.ids.fingerprint_of([text], validation))


def test_one_document_is_cut(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("one two three four five six seven eight nine ten " * 8)
    prepare(tmp_path, path)
    training, validation = pretrain.ids.open_both(tmp_path)
    assert len(training) == 73 and len(validation) == 9  # 80 ids in nine tenths and one, each with its end
    prepare(tmp_path, path, path)
    assert len(pretrain.ids.open_both(tmp_path)[1]) == 81
    path.write_text("one two")
    refused("a document of 2 tokens holds nothing to judge by", pretrain.ids.prepare, tmp_path, [str(path)], [], 0, "y")


WRONG = {
    "n_steps": ["2.5", "0", "null"],
    "batch_size": ["0"],
    "save_every": ["x"],
    "shift": ["7"],
    "gradient_checkpointing": ["1"],
    "seed": ["-1"],
    "learning_rate": ["fast"],
    "weight_decay": [f"1{'0' * 400}"],
    "clip_norm": ["Infinity"],
    "n_heads": ["[" * 10**5],
    "n_layers": ["100000000"],
    "betas": ["[0.9]", "0.9"],
    "vocab_size": ["100"],
    "micro_batch_size": [f"1{'0' * 30}"],
}
BAD = [
    *(("--set", f"{name}={value}", f": {name} ") for name, values in WRONG.items() for value in values),
    ("--set", "n_step=5", "field=value"),
    ("--set", "n_steps", "field=value"),
    ("--set", "clip_norm=0,5", "clip_norm=0,5: write a decimal point"),
    ("--set", "context_length=99999999999", "take a shorter context"),
    ("--set", "context_length=4000", "take a shorter context"),
    ("--set", "emb_dim=1000000000000", "a model of these sizes cannot be made here"),
    ("--set", "batch_size=400", "do not fill a batch"),
    ("--config", "gpt-9", "neither a preset (course-small"),
    ("--config", "/dev/null", "nor a file that can be read (no plain file"),
    *(("--threads", n, f"--threads must be in [1, 1024], got {n}") for n in ("0", "100000")),
    *(("--device", name, f"--device {name}: not to be had here") for name in ("meta", "abacus", "hpu")),
    ("--text", "/nowhere/text.txt", "/nowhere/text.txt cannot be read"),
    ("--text", "/", "/ cannot be read"),
    ("--out", "/proc/nowhere", "--out: /proc/nowhere cannot be written"),
    ("--out", __file__, "cannot be written"),
]


@pytest.mark.parametrize(("option", "value", "says"), BAD)
def test_bad_input_is_one_line_and_status_2(train, tmp_path, option, value, says):
    done = train(tmp_path, change=(value,)) if option == "--set" else train(tmp_path, option, value)
    (error,) = (line for line in done.err.splitlines() if "memory, predicted: does not fit" not in line)
    assert done.status == 2 and says in error


def test_a_comma_in_a_plan_is_told_with_its_field(train, tmp_path):
    (plan := tmp_path / "plan.json").write_text('{"train": {"weight_decay": "0,1"}}')
    assert "weight_decay=0,1: write a decimal point" in train(tmp_path, "--config", plan).err


def test_who_cannot_join_or_is_interrupted_says_so(train, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
            patch.setenv(name, value)
        done = train(tmp_path, "--device", "mps")
        assert done.status == 2 and "--device mps: several ranks take cpu" in done.err
    monkeypatch.setattr(tokenizer, "gpt2", interrupt)
    done = train(tmp_path)
    assert done.status == 130 and "interrupted before training" in done.err


def test_memory_that_runs_out_is_one_line_and_the_way_out_is_one(train, whole, tmp_path):
    def no_more() -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    done = train(tmp_path / "out", after=at_record(6, no_more))
    assert (
        done.status == 1
        and done.err.startswith("pretrain: out of memory ([enforce fail ")
        and done.err.count("\n") == 1
    )
    done = train(tmp_path / "out", change=(*re.findall(r"--set (\S+)", done.err),))
    assert done.status == 0 and "going on from step" in done.out and same_end(tmp_path / "out", whole)
    done = train(tmp_path / "b", after=at_record(6, no_more), change=("gradient_checkpointing=true",))
    assert done.status == 1 and "memory). In another folder micro_batch_size=1" in done.err


def test_bad_texts(train, tmp_path):
    empty, binary, pipe, wide = (tmp_path / f"{name}.txt" for name in ("empty", "binary", "pipe", "wide"))
    empty.write_text(" \n\f<|endoftext|> ")
    binary.write_bytes(b"\xff\xfe\x00")
    os.mkfifo(pipe)
    wide.write_text("wide", encoding="utf-16-le")
    for path, says in (
        (empty, "no text in"),
        (binary, "cannot be read as UTF-8 text"),
        (pipe, "is a pipe or a device"),
        (wide, "cannot be read as UTF-8 text (zero bytes in it: it may be UTF-16)"),
    ):
        for option, done in (
            ("--text", train(tmp_path / "a", on=path)),
            ("--validation", train(tmp_path / "b", "--validation", path)),
        ):
            assert done.status == 2 and f"{option}: {says}" in done.err.replace(f"{path} ", "")


def test_how_a_text_was_saved_makes_no_other_run(text, train, tmp_path):
    """Windows' mark at its start, its ends of lines, and GPT-2's token between documents."""
    path = tmp_path / "text.txt"
    path.write_text(text.read_text().replace(" on", " on\n").replace("\f", "<|endoftext|>"))
    done = train(tmp_path / "out", "--minutes", 1e-9, on=path)
    assert done.status == 0
    assert "<|endoftext|> stands 5 times in the texts: each ends a document" in done.err
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    done = train(tmp_path / "out", on=path)
    assert done.status == 0 and done.err == ""  # the same run, the same ids, and it is said once
    prepare(tmp_path, path)
    for name in pretrain.ids.FILES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "out" / "ids" / name).read_bytes()
    path.write_text("\ufeffone\ufefftwo", encoding="utf-8")  # only the mark at the start of a file goes
    assert pretrain.ids.documents([path]) == (["one\ufefftwo"], 0)


@pytest.mark.parametrize("n", [0, 3])
def test_validation_texts_that_are_trained_on_are_said_once(text, train, tmp_path, n):
    other, parts = tmp_path / "other.txt", text.read_text().split("\f")
    other.write_text("\ufeff" + "\f".join([*parts[:n], *(part[:-1] for part in parts[n:])]))
    said = [train(tmp_path / "out", "--validation", other, "--minutes", 1e-9) for _ in range(2)]
    assert [done.status for done in said] == [0, 0]
    told = "3 of 6 validation documents (50% of the characters) are in the training text too"
    assert sum(done.err.count(told) for done in said) == (n == 3)


def test_a_million_spaces_are_encoded(tmp_path):
    path = tmp_path / "spaces.txt"
    path.write_text("a" + " " * 10**6 + "b" + "\n" * 10**6 + "c")
    prepare(tmp_path, path, path)
    assert tokenizer.gpt2().decode(pretrain.ids.open_both(tmp_path)[0].tolist()[:-1]) == path.read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ([], "stopped: a loss of"),
        (["n_steps=1"], "stopped: a validation loss of nan after step 1: try a lower"),
        (["save_every=1"], "stopped: model.safetensors: NaN or infinity in"),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_the_cause(train, tmp_path, change, says):
    done = train(tmp_path, change=("learning_rate=1e38", "clip_norm=null", *change))
    assert done.status == 1 and says in done.err


def test_a_plan_from_a_file_and_changes(tmp_path):
    path = tmp_path / "plan.json"
    plan = pretrain.Plan(GPTConfig(emb_dim=24, n_heads=3), TrainConfig(7, betas=(0.5, 0.6)), batch_size=11, seed=2)
    path.write_text("\ufeff" + json.dumps(asdict(plan)), encoding="utf-8")  # as Windows' editor saves it
    assert pretrain.plan.read_plan(str(path), [], "float16") == plan
    changes = ["ff_dim=5", "clip_norm=None", "shift=False", "eval_every=3", "gradient_checkpointing=true"]
    changed = pretrain.plan.read_plan(str(path), changes, "float16")
    assert pretrain.plan.differences(plan.identity(), changed.identity()) == [
        "model.ff_dim: None there, 5 here",
        "shift: True there, False here",
        "train.clip_norm: 1.0 there, None here",
        "train.eval_every: None there, 3 here",
    ]
    of_preset = pretrain.plan.read_plan("course-small", [], "bfloat16").train
    assert (of_preset.n_steps, of_preset.precision) == (1000, "bfloat16")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "one object, got a list"),
        (b'{"train": []}', "train should be an object"),
        (b'{"model": {"width": 5}}', "no field of model named width; there are vocab_size"),
        (b'{"modle": {}}', "no field of a plan named modle"),
    ],
)
def test_a_plan_that_is_none(tmp_path, content, says):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    refused(says, pretrain.plan.read_plan, str(path), ["n_steps=3"], "float32")
