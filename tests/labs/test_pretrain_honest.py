"""What a run might take without a word: another run's log, a text that still grows, a plan that says a thing twice."""

import os
import shutil
from pathlib import Path

import pytest

from helpers.labs import pretrain
from tests.labs.runs import command, forge, run, same_end, timeless


@pytest.mark.parametrize("finished", [False, True])
def test_a_log_of_another_run_is_refused(train, whole, tmp_path, finished):
    out, other = tmp_path / "out", tmp_path / "other"
    for folder, seed in ((out, "seed=0"), (other, "seed=1")):
        train(folder, change=(seed,), kill_at=0 if finished else 8)
    own = shutil.copy(out / "log.jsonl", tmp_path / "own")
    foreign = shutil.copy(other / "log.jsonl", out / "log.jsonl").read_bytes()
    done = train(out)
    assert done.status == 2 and f"{out / 'log.jsonl'} is not this run's log: its update" in done.err
    assert (out / "log.jsonl").read_bytes() == foreign
    shutil.copy(own, out / "log.jsonl")
    assert train(out).status == 0 and timeless(out) == timeless(whole)


def test_a_checkpoint_that_does_not_say_its_last_loss_takes_any_log(train, whole, tmp_path):
    """As those of older editions."""
    train(tmp_path, kill_at=8)
    for path in (tmp_path / "checkpoints").iterdir():
        forge(path, "extra", '{"best_loss": null}')
    assert train(tmp_path).status == 0 and same_end(tmp_path, whole)


def test_a_text_that_grows_while_it_is_read_is_refused(text, tmp_path, capsys, monkeypatch):
    growing, read = Path(shutil.copy(text, tmp_path / "growing.txt")), Path.read_text

    def then_grow(path: Path, *how: object, **more: object) -> str:
        content = read(path, *how, **more)
        if path == growing:
            with open(path, "a") as file:
                file.write(" and more")
        return content

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", then_grow)
        assert run(growing, tmp_path / "out") == 2
    assert "--text: a file has changed while it was read" in capsys.readouterr().err
    assert run(growing, tmp_path / "out", "--minutes", "1e-9") == 0


@pytest.mark.parametrize("option", ["--out", "--also"])
def test_an_empty_name_is_no_folder(text, tmp_path, capsys, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    assert pretrain.main([*command(text, tmp_path / "out"), option, ""]) == 2
    assert "--out and --also name folders, got ''" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_plan_that_says_a_field_twice(tmp_path):
    (tmp_path / "plan.json").write_text('{"train": {"n_steps": 3, "n_steps": 30}}')
    with pytest.raises(ValueError, match=r"plan.json is not JSON: a key stands twice"):
        pretrain.plan.read_plan(str(tmp_path / "plan.json"), [], "float32")
