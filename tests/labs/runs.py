"""Small runs of the command, stopped and looked at: what the tests of `pretrain` share."""

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers.gpt import Update
from helpers.labs import pretrain

N_STEPS = 8
TINY = ["emb_dim=8", "n_layers=1", "n_heads=2", "context_length=16", "drop_rate=0.1", "batch_size=4"]
TINY += ["learning_rate=0.01", "eval_every=3", "save_every=2", f"n_steps={N_STEPS}"]
WEIGHTS = "model/model.safetensors"
ROOT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    """How the command ended, and what it said."""

    status: int
    out: str
    err: str


class Kill(BaseException):
    """Stands for SIGKILL where the process has to live on to look at what it left."""


def command(text: Path, out: Path, *more: str, change: tuple[str, ...] = ()) -> list[str]:
    return ["--text", str(text), "--set", *TINY, *change, "--out", str(out), "--device", "cpu", *more]


def run(text: Path, out: Path, *more: str, change: tuple[str, ...] = (), after=None) -> int:
    return pretrain.main(command(text, out, *more, change=change), after)


def timeless(out: Path) -> list[str]:
    """The log's lines as they stand, without their seconds."""
    lines = (out / "log.jsonl").read_text().splitlines()
    return [line[: line.index(', "seconds"')] for line in lines]


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def same_end(out: Path, whole: Path) -> bool:
    files = (WEIGHTS, "best/model.safetensors")
    return all((out / f).read_bytes() == (whole / f).read_bytes() for f in files) and timeless(out) == timeless(whole)


def assert_same_curve(out: Path, one: Path) -> None:
    """Every record of the two logs is one record, within rounding."""
    ours, theirs = (pretrain.read_log(path / "log.jsonl") for path in (out, one))
    assert [(type(r), r.step, r.n_tokens) for r in ours] == [(type(r), r.step, r.n_tokens) for r in theirs]
    assert [r.loss_nats for r in ours] == pytest.approx([r.loss_nats for r in theirs], rel=1e-5)
    norms = [[r.grad_norm for r in records if isinstance(r, Update)] for records in (ours, theirs)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def at_record(n: int, act):
    """`act` is called after the n-th record from now has been written to the log."""
    seen = []

    def after(record) -> None:
        seen.append(record)
        if len(seen) == n:
            act()

    return after


def kill() -> None:
    raise Kill


def forge(path: Path, part: str, value: str) -> None:
    """Whoever signs anew can write what he likes: `value` is JSON as it stands in the file."""
    state = path / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {part: "here"}).replace('"here"', value))
    sums = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in sorted(path.glob("[mos]*"))]
    (path / "SHA256SUMS").write_text("".join(sums))


ALONE = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")} | {"COURSE_QUIET": "1"}


def free_ports(n: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports
