"""The command: a run that was interrupted, in whatever way, ends as if it had not been."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
import torch

from helpers import runtime
from helpers.gpt import Evaluation, TransformerBlock, Update, tokenizer
from helpers.labs import pretrain
from helpers.storage import checkpoint, open_ids
from tests.labs.runs import N_STEPS, at_record, forge, killed, run, same_end, steps_in


def test_a_run_leaves_what_is_promised(whole, text):
    assert steps_in(whole / "checkpoints") == [6, 8]
    assert {path.name for path in whole.iterdir()} == {".lock", "best", "checkpoints", "ids", "log.jsonl", "model"}
    records = pretrain.read_log(whole / "log.jsonl")
    assert [r.step for r in records if isinstance(r, Update)] == list(range(N_STEPS))
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 3, 6, 8]
    final = checkpoint.load_model(whole / "model")
    assert final.extra == {"step": N_STEPS, "n_tokens": N_STEPS * 4 * 16}
    assert final.config["emb_dim"] == 8
    best = checkpoint.load_model(whole / "best").extra["loss_nats"]
    assert best == min(r.loss_nats for r in records if isinstance(r, Evaluation))
    ids = [open_ids(whole / "ids" / f"{name}.npy") for name in ("train", "validation")]
    decoded = "".join(tokenizer.gpt2().decode(part.tolist()) for part in ids).split("<|endoftext|>")[:-1]
    assert sorted(decoded) == sorted(part.strip() for part in text.read_text().split("\f"))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8, 11, 12])
def test_killed_after_any_record_it_ends_the_same(text, whole, tmp_path, n):
    killed(n, text, tmp_path)
    assert run(text, tmp_path) == 0
    assert same_end(tmp_path, whole)


def test_a_finished_run_run_again_changes_nothing(text, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    assert run(text, tmp_path / "out") == 0
    assert same_end(tmp_path / "out", whole)


def test_the_best_weights_are_remembered(text, tmp_path):
    change = ("learning_rate=3.0",)  # it gets worse from the first update on
    killed(6, text, tmp_path, change=change)
    assert run(text, tmp_path, change=change) == 0
    assert checkpoint.load_model(tmp_path / "best").extra["step"] == 0


def test_a_run_keeps_its_precision_on_another_card(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.float16)
    assert run(text, tmp_path / "a") == 0
    assert run(text, tmp_path / "b", "--minutes", "1e-9") == 0
    monkeypatch.setattr(runtime, "pick_precision", lambda device: torch.bfloat16)
    assert run(text, tmp_path / "b") == 0
    assert "the run goes on in float16, as it began; this device would take bfloat16" in capsys.readouterr().err
    assert same_end(tmp_path / "b", tmp_path / "a")
    assert run(text, tmp_path / "b", change=("precision=bfloat16",)) == 2  # asked for
    assert "train.precision: 'float16' there, 'bfloat16' here" in capsys.readouterr().err


def test_float16_goes_on_with_its_scaler(text, tmp_path, capsys):
    change = ("precision=float16", "n_steps=5")
    assert run(text, tmp_path / "a", change=change) == 0
    killed(6, text, tmp_path / "b", change=change)
    state = checkpoint.find(tmp_path / "b" / "checkpoints").state
    assert state.scaler["_growth_tracker"] == state.step
    assert run(text, tmp_path / "b", change=change) == 0
    assert same_end(tmp_path / "b", tmp_path / "a")
    ends = [checkpoint.find(tmp_path / name / "checkpoints").state for name in "ab"]
    assert ends[0].scaler == ends[1].scaler and ends[0].scaler["_growth_tracker"] == 5
    for path in (tmp_path / "b" / "checkpoints").iterdir():
        forge(path, "scaler", '{"scale": 2.0}')
    assert run(text, tmp_path / "b", change=change) == 2 and "its scaler's state" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(text, whole, tmp_path, capsys, number):
    before = signal.getsignal(number)
    after = at_record(5, lambda: os.kill(os.getpid(), number))  # after update 2: no checkpoint is due
    assert run(text, tmp_path, after=after) == 128 + number
    assert signal.getsignal(number) is before
    assert "stopped after step 3; the same command goes on" in capsys.readouterr().out
    assert steps_in(tmp_path / "checkpoints") == [2, 3]
    assert run(text, tmp_path) == 0
    assert "going on from step 3" in capsys.readouterr().out
    assert same_end(tmp_path, whole)


@pytest.mark.parametrize("n", [11, 12])  # after the last update, and after the evaluation that follows it
def test_a_signal_at_the_very_end_comes_too_late(text, whole, tmp_path, n):
    after = at_record(n, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(text, tmp_path, after=after) == 0
    assert same_end(tmp_path, whole)


def test_a_second_signal_ends_at_once():
    with pretrain.stop.listening() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and asked == [signal.SIGTERM]


def test_minutes_save_and_stop(text, whole, tmp_path, capsys):
    assert run(text, tmp_path, "--minutes", "1e-9") == 0
    assert steps_in(tmp_path / "checkpoints") == [0] and "stopped after step 0" in capsys.readouterr().out
    assert run(text, tmp_path, "--minutes", "60") == 0
    assert same_end(tmp_path, whole)
    assert run(text, tmp_path, "--minutes", "-1") == 2 and "above 0, got -1" in capsys.readouterr().err


def test_activation_checkpointing_may_be_switched_on_at_any_time(text, whole, tmp_path, monkeypatch):
    """Blocks are passed through twice, and no bit of the run changes."""
    passes, forward = [], TransformerBlock.forward

    def counted(self, *given):
        passes.append(torch.is_grad_enabled())
        return forward(self, *given)

    monkeypatch.setattr(TransformerBlock, "forward", counted)
    assert run(text, tmp_path / "a", change=("gradient_checkpointing=true",)) == 0
    assert sum(passes) == 2 * N_STEPS and same_end(tmp_path / "a", whole)
    shutil.copytree(whole, tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "step-00000008")
    passes.clear()
    assert run(text, tmp_path / "b", change=("gradient_checkpointing=true",)) == 0  # not another run
    assert sum(passes) == 2 * 2 and same_end(tmp_path / "b", whole)
    assert (
        checkpoint.find(tmp_path / "b" / "checkpoints").state.config
        == checkpoint.find(whole / "checkpoints").state.config
    )


def test_another_plan_or_text_in_the_same_folder_is_refused(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().replace("rain", "snow"))
    assert run(text, out, change=("learning_rate=0.02", "seed=1")) == 2
    said = capsys.readouterr().err
    assert "seed: 0 there, 1 here" in said and "train.learning_rate: 0.01 there, 0.02 here" in said
    assert run(other, out) == 2
    assert "texts: " in capsys.readouterr().err
    assert run(text, out, "--validation", str(text)) == 2
    assert "n_validation_files: 0 there, 1 here" in capsys.readouterr().err
    assert run(text, out) == 0 and same_end(out, whole)  # ids of the refused runs are not taken for this one's


def test_a_run_is_extended_and_keeps_what_it_was_told_anew(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert run(text, out, change=("n_steps=12", "keep=1", "save_every=5")) == 0
    done = capsys.readouterr()
    assert "n_steps was 8 and is 12: the run is extended" in done.err and "going on from step 8" in done.out
    assert steps_in(out / "checkpoints") == [12]
    records = pretrain.read_log(out / "log.jsonl")
    assert [r.step for r in records if isinstance(r, Update)] == [*range(12)]
    assert [r.step for r in records if isinstance(r, Evaluation)] == [0, 3, 6, 8, 9, 12]
    assert run(text, out) == 2 and "train.n_steps: 12 there, 8 here" in capsys.readouterr().err
    assert run(text, out, change=("n_steps=12",)) == 0 and "extended" not in capsys.readouterr().err


def test_other_surroundings_are_said(text, whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    try:
        assert run(text, out, "--threads", "3") == 0 and torch.get_num_threads() == 3
    finally:
        runtime.start()
    assert (
        f"saved with threads {torch.get_num_threads()}, now 3: the run goes on, and not bit" in capsys.readouterr().err
    )
    for path in (out / "checkpoints").iterdir():
        forge(path, "versions", '{"torch": "2.0.1"}')
    assert run(text, out) == 0
    assert f"saved with torch 2.0.1, now {torch.__version__}: the run goes on" in capsys.readouterr().err
