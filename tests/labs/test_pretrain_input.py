"""What the command is given: plans, settings and texts as people have them, and one line for what is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.gpt import GPTConfig, TrainConfig, tokenizer
from helpers.labs import pretrain
from tests.labs.runs import command, run


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
    with pytest.raises(ValueError, match="a document of 2 tokens holds nothing to judge by"):
        prepare(tmp_path, path)


BAD = [
    (["--set", "n_step=5"], "field=value"),
    (["--set", "n_steps"], "field=value"),
    (["--set", "n_steps=2.5"], "n_steps must be a whole number, got 2.5"),
    (["--set", "n_steps=0"], "n_steps must be a whole number of at least 1"),
    (["--set", "batch_size=0"], "batch_size must be a whole number of at least 1, got 0"),
    (["--set", "save_every=x"], "save_every must be a whole number of at least 1, got 'x'"),
    (["--set", "shift=7"], "shift must be true or false"),
    (["--set", "gradient_checkpointing=1"], "gradient_checkpointing must be true or false, got 1"),
    (["--set", "seed=-1"], "seed must be a whole number"),
    (["--set", "learning_rate=fast"], "learning_rate must be a number, got 'fast'"),
    (["--set", "clip_norm=0,5"], "clip_norm must be a number, got '0,5': write a decimal point"),
    (["--set", f"weight_decay=1{'0' * 400}"], "weight_decay must be below 1e308, got 1000"),
    (["--set", "clip_norm=Infinity"], "clip_norm must be below 1e308, got inf"),
    (["--set", f"n_heads={'[' * 10**5}"], "n_heads must be a whole number of at least 1, got '[["),
    (["--set", "n_layers=100000000"], "n_layers must be at most 10,000, got 100000000"),
    (["--set", "betas=[0.9]"], "betas are two numbers"),
    (["--set", "betas=0.9"], "betas must be a list of numbers, got 0.9"),
    (["--set", "n_steps=null"], "n_steps must be a whole number, got None"),
    (["--set", "context_length=99999999999"], "take a shorter context"),
    (["--set", "emb_dim=1000000000000"], "a model of these sizes cannot be made here"),
    (["--set", "vocab_size=100"], "vocab_size must be at least 50257"),
    (["--set", "context_length=4000"], "take a shorter context"),
    (["--set", "batch_size=400"], "do not fill a batch"),
    (["--config", "gpt-9"], "neither a preset (course-small"),
    (["--config", "/dev/null"], "nor a file that can be read (no plain file"),
    (["--threads", "0"], "--threads must be in [1, 1024], got 0"),
    (["--threads", "100000"], "--threads must be in [1, 1024], got 100000"),
    (["--device", "meta"], "--device meta: not to be had here"),
    (["--device", "abacus"], "--device abacus: not to be had here"),
    (["--text", "/nowhere/text.txt"], "/nowhere/text.txt cannot be read"),
    (["--text", "/"], "/ cannot be read"),
    (["--out", "/proc/nowhere"], "--out: /proc/nowhere cannot be written"),
    (["--out", __file__], "cannot be written"),
]


@pytest.mark.parametrize(("options", "says"), BAD)
def test_bad_input_is_one_line_and_status_2(text, tmp_path, capsys, options, says):
    option, value = options
    given = command(text, tmp_path / "out")
    if option == "--set":
        given.insert(given.index("--out"), value)
    else:
        given += options
    assert pretrain.main(given) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1


def test_a_rank_that_cannot_join_says_why(text, tmp_path, monkeypatch, capsys):
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert run(text, tmp_path, "--device", "mps") == 2
    assert "--device mps: several ranks take cpu" in capsys.readouterr().err


def test_bad_texts(tmp_path, capsys, text):
    empty, binary, pipe = tmp_path / "empty.txt", tmp_path / "binary.txt", tmp_path / "pipe"
    empty.write_text(" \n\f<|endoftext|> ")
    binary.write_bytes(b"\xff\xfe\x00")
    os.mkfifo(pipe)
    (wide := tmp_path / "wide.txt").write_text("wide", encoding="utf-16-le")
    cases = [(empty, "no text in"), (binary, "cannot be read as UTF-8 text"), (pipe, "is a pipe or a device")]
    cases += [(wide, "cannot be read as UTF-8 text (zero bytes in it: it may be UTF-16)")]
    for path, says in cases:
        assert run(path, tmp_path / "a") == 2 and f"--text: {says}" in capsys.readouterr().err.replace(f"{path} ", "")
        assert run(text, tmp_path / "b", "--validation", str(path)) == 2
        assert f"--validation: {says}" in capsys.readouterr().err.replace(f"{path} ", "")


def test_only_the_mark_at_the_start_of_a_file_goes(tmp_path):
    (tmp_path / "text.txt").write_text("\ufeffone\ufefftwo", encoding="utf-8")
    assert pretrain.ids.documents([tmp_path / "text.txt"]) == (["one\ufefftwo"], 0)


def test_how_a_text_was_saved_makes_no_other_run(text, tmp_path, capsys):
    """Windows' mark at its start, its ends of lines, and GPT-2's token between documents."""
    path = tmp_path / "text.txt"
    path.write_text(text.read_text().replace(" on", " on\n").replace("\f", "<|endoftext|>"))
    assert run(path, tmp_path / "out", "--minutes", "1e-9") == 0
    assert "<|endoftext|> stands 5 times in the texts: each ends a document" in capsys.readouterr().err
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert run(path, tmp_path / "out") == 0
    assert capsys.readouterr().err == ""  # the same run, the same ids, and it is said once
    prepare(tmp_path, path)
    for name in pretrain.ids.FILES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "out" / "ids" / name).read_bytes()


@pytest.mark.parametrize("n", [0, 3])
def test_validation_texts_that_are_trained_on_are_said_once(text, tmp_path, capsys, n):
    other = tmp_path / "other.txt"
    parts = text.read_text().split("\f")
    other.write_text("\ufeff" + "\f".join([*parts[:n], *(part[:-1] for part in parts[n:])]))
    for _ in range(2):
        assert run(text, tmp_path / "out", "--validation", str(other), "--minutes", "1e-9") == 0
    said = capsys.readouterr().err
    assert said.count("3 of 6 validation documents (50% of the characters) are in the training text too") == (n == 3)


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
def test_a_loss_that_is_not_finite_stops_with_the_cause(text, tmp_path, capsys, change, says):
    assert run(text, tmp_path, change=("learning_rate=1e38", "clip_norm=null", *change)) == 1
    assert says in capsys.readouterr().err


def test_ctrl_c_before_training(text, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer, "gpt2", interrupt)
    assert run(text, tmp_path) == 130 and "interrupted before training" in capsys.readouterr().err


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
    with pytest.raises(ValueError, match=says):
        pretrain.plan.read_plan(str(path), ["n_steps=3"], "float32")
