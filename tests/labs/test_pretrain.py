"""The command: a run that was interrupted, in whatever way, ends as if it had not been."""

import errno
import io
import os
import shutil
import signal

import pytest
import torch

from helpers import runtime
from helpers.gpt import Evaluation, TransformerBlock, Update, tokenizer
from helpers.labs import pretrain
from helpers.storage import checkpoint, open_ids
from tests.labs.runs import N_STEPS, at_record, forge, same_end, steps_in
from tests.support import names


def steps_of(kind, records) -> list[int]:
    return [record.step for record in records if isinstance(record, kind)]


def test_a_run_leaves_what_is_promised_and_run_again_changes_nothing(whole, text, out, train):
    assert steps_in(whole / "checkpoints") == [6, 8]
    assert names(whole) == [".lock", "best", "checkpoints", "ids", "log.jsonl", "model"]
    records = pretrain.read_log(whole / "log.jsonl")
    assert steps_of(Update, records) == list(range(N_STEPS)) and steps_of(Evaluation, records) == [0, 3, 6, 8]
    final = checkpoint.load_model(whole / "model")
    assert final.extra == {"step": N_STEPS, "n_tokens": N_STEPS * 4 * 16} and final.config["emb_dim"] == 8
    best = checkpoint.load_model(whole / "best").extra["loss_nats"]
    assert best == min(r.loss_nats for r in records if isinstance(r, Evaluation))
    ids = [open_ids(whole / "ids" / f"{name}.npy") for name in ("train", "validation")]
    decoded = "".join(tokenizer.gpt2().decode(part.tolist()) for part in ids).split("<|endoftext|>")[:-1]
    assert sorted(decoded) == sorted(part.strip() for part in text.read_text().split("\f"))
    assert train(out).status == 0 and same_end(out, whole)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8, 11, 12])
def test_killed_after_any_record_it_ends_the_same(train, whole, tmp_path, n):
    train(tmp_path, kill_at=n)
    assert train(tmp_path).status == 0 and same_end(tmp_path, whole)


def test_the_best_weights_are_remembered(train, tmp_path):
    change = ("learning_rate=3.0",)  # it gets worse from the first update on
    train(tmp_path, change=change, kill_at=6)
    assert train(tmp_path, change=change).status == 0
    assert checkpoint.load_model(tmp_path / "best").extra["step"] == 0


def test_a_run_keeps_its_precision_on_another_card(train, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.float16)
    assert train(tmp_path / "a").status == 0
    assert train(tmp_path / "b", "--minutes", 1e-9).status == 0
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.bfloat16)
    done = train(tmp_path / "b")
    assert "the run goes on in float16, as it began; this device would take bfloat16" in done.err
    assert done.status == 0 and same_end(tmp_path / "b", tmp_path / "a")
    asked = train(tmp_path / "b", change=("precision=bfloat16",))
    assert asked.status == 2 and "train.precision: 'float16' there, 'bfloat16' here" in asked.err


def test_float16_goes_on_with_its_scaler(train, tmp_path):
    change = ("precision=float16", "n_steps=5")
    assert train(tmp_path / "a", change=change).status == 0
    train(tmp_path / "b", change=change, kill_at=6)
    state = checkpoint.find(tmp_path / "b" / "checkpoints").state
    assert state.scaler["_growth_tracker"] == state.step
    assert train(tmp_path / "b", change=change).status == 0 and same_end(tmp_path / "b", tmp_path / "a")
    a, b = (checkpoint.find(tmp_path / name / "checkpoints").state.scaler for name in "ab")
    assert a == b and a["_growth_tracker"] == 5
    for path in (tmp_path / "b" / "checkpoints").iterdir():
        forge(path, "scaler", '{"scale": 2.0}')
    done = train(tmp_path / "b", change=change)
    assert done.status == 2 and "the scaler's growth_factor must be" in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_stops(train, whole, tmp_path, number):
    before = signal.getsignal(number)
    done = train(tmp_path, after=at_record(5, lambda: os.kill(os.getpid(), number)))  # after update 2: none is due
    assert done.status == 128 + number and "stopped after step 3; the same command goes on" in done.out
    assert signal.getsignal(number) is before
    assert steps_in(tmp_path / "checkpoints") == [2, 3]
    done = train(tmp_path)
    assert done.status == 0 and "going on from step 3" in done.out and same_end(tmp_path, whole)


@pytest.mark.parametrize("n", [11, 12])  # after the last update, and after the evaluation that follows it
def test_a_signal_at_the_very_end_comes_too_late(train, whole, tmp_path, n):
    after = at_record(n, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(tmp_path, after=after).status == 0 and same_end(tmp_path, whole)


def test_a_second_signal_ends_at_once():
    with pretrain.stop.listening() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and asked == [signal.SIGTERM]


@pytest.mark.skipif(not pretrain.stop.HANGUP, reason="Windows has no SIGHUP")
def test_under_nohup_a_run_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pretrain.stop.listening() as asked:
            signal.raise_signal(signal.SIGHUP)
        assert not asked and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_minutes_save_and_stop(train, whole, tmp_path):
    done = train(tmp_path, "--minutes", 1e-9)
    assert done.status == 0 and "stopped after step 0" in done.out and steps_in(tmp_path / "checkpoints") == [0]
    assert train(tmp_path, "--minutes", 60).status == 0 and same_end(tmp_path, whole)
    done = train(tmp_path, "--minutes", -1)
    assert done.status == 2 and "above 0, got -1" in done.err


def test_activation_checkpointing_may_be_switched_on_at_any_time(train, whole, out, tmp_path, monkeypatch):
    """Blocks are passed through twice, and no bit of the run changes."""
    passes, forward = [], TransformerBlock.forward

    def counted(self, *given):
        passes.append(torch.is_grad_enabled())
        return forward(self, *given)

    monkeypatch.setattr(TransformerBlock, "forward", counted)
    shutil.rmtree(out / "checkpoints" / "step-00000008")
    for folder, n_steps in ((tmp_path / "new", N_STEPS), (out, 2)):  # not another run
        passes.clear()
        assert train(folder, change=("gradient_checkpointing=true",)).status == 0
        assert sum(passes) == 2 * n_steps and same_end(folder, whole)
    ours, theirs = (checkpoint.find(path / "checkpoints").state.config for path in (out, whole))
    assert ours == theirs


def test_another_plan_or_text_in_the_same_folder_is_refused(text, train, whole, out, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().replace("rain", "snow"))
    for done, says in (
        (train(out, change=("learning_rate=0.02",)), "train.learning_rate: 0.01 there, 0.02 here"),
        (train(out, change=("seed=1",)), "seed: 0 there, 1 here"),
        (train(out, on=other), "texts: "),
        (train(out, "--validation", text), "n_validation_files: 0 there, 1 here"),
    ):
        assert done.status == 2 and says in done.err
    assert train(out).status == 0 and same_end(out, whole)  # ids of the refused runs are not taken for this one's


def test_a_run_is_extended_and_keeps_what_it_was_told_anew(train, out):
    done = train(out, change=("n_steps=12", "keep=1", "save_every=5"))
    assert done.status == 0 and "going on from step 8" in done.out
    assert "n_steps was 8 and is 12: the run is extended" in done.err
    assert steps_in(out / "checkpoints") == [12]
    records = pretrain.read_log(out / "log.jsonl")
    assert steps_of(Update, records) == [*range(12)] and steps_of(Evaluation, records) == [0, 3, 6, 8, 9, 12]
    done, again = train(out), train(out, change=("n_steps=12",))
    assert done.status == 2 and "train.n_steps: 12 there, 8 here" in done.err
    assert again.status == 0 and "extended" not in again.err


def test_other_surroundings_are_said(train, out, monkeypatch):
    try:
        done = train(out, "--threads", 3)
        assert done.status == 0 and torch.get_num_threads() == 3
    finally:
        runtime.start()
    assert f"saved with threads {torch.get_num_threads()}, now 3: the run goes on, and not bit" in done.err
    kind = torch.backends.cpu.get_cpu_capability()
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX9")
        assert f"saved with processor {kind}, now AVX9: the run goes on, and not bit" in train(out).err
    for path in (out / "checkpoints").iterdir():
        forge(path, "extra", '{"best_loss": null}')  # as before processors were kept
    assert "saved with" not in train(out).err
    for path in (out / "checkpoints").iterdir():
        forge(path, "versions", '{"torch": "2.0.1"}')
    done = train(out)
    assert done.status == 0 and f"saved with torch 2.0.1, now {torch.__version__}: the run goes on" in done.err


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), io.TextIOWrapper(io.BytesIO(), "ascii")], ids=["full", "ascii"])
def test_a_stream_that_takes_nothing_stops_no_run(stream, train, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", stream)
    assert train(tmp_path / "caf\udce9", change=("n_steps=1",)).status == 0
    assert (tmp_path / "caf\udce9" / "model").is_dir()
