"""Kill a training run at random moments, resume it each time, and compare its end with that of a run left in peace.

    python -m tools.drill [--kills 100] [--seed 0] [--folder DIR]

A kill is a SIGKILL. About half of them come at a random moment, the others are aimed at a write: as soon as the hidden
folder of an unfinished checkpoint or model appears, or a moment later. After a kill the same command is run again,
until the run ends; then the next run begins, until there were as many kills as asked for. Of every run the weights
(final and best) must be those of the undisturbed run byte for byte, and the log line by line, its seconds aside.

Every process is forked from one that has imported torch and computed nothing: with one thread no pool has been started
that a child could miss, and a process takes a tenth of a second to start instead of seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

N_STEPS = 30
PLAN = {
    "model": {"context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 1, "drop_rate": 0.1},
    "train": {"n_steps": N_STEPS, "learning_rate": 0.01, "warmup_steps": 5, "eval_every": 5},
    "batch_size": 4,
    "save_every": 2,
}
N_WORDS = 1500
UNFINISHED = (".unfinished", ".replaced")
WEIGHTS = ("model/model.safetensors", "best/model.safetensors")
MAX_SECONDS = 120  # of one process
POLL_SECONDS = 0.0005
RANDOM_SHARE, AIMED_SHARE = 0.4, 0.25  # of the undisturbed run's time: when kills come, when aiming begins


@dataclass
class Tally:
    """What became of the kills, all runs together; every kill is counted once in each group of lines."""

    kills: int = 0
    in_start_up: int = 0
    after_updates: int = 0
    aimed: int = 0
    in_a_write: int = 0
    from_a_checkpoint: int = 0
    from_the_beginning: int = 0
    killed_before_it_said: int = 0
    runs: int = 0
    unequal: list[str] = field(default_factory=list)
    updates_of_killed: list[int] = field(default_factory=list)

    @property
    def resumed(self) -> int:
        """Kills after which a process said from where it goes on; others were killed again before."""
        return self.from_a_checkpoint + self.from_the_beginning

    def lines(self) -> list[tuple[str, str]]:
        middle = f"median {statistics.median(self.updates_of_killed or [0]):.0f}"
        return [
            ("kills", f"{self.kills}"),
            ("  while starting up", f"{self.in_start_up}"),
            ("  after some updates", f"{self.after_updates} ({middle}, at most {max(self.updates_of_killed or [0])})"),
            ("  aimed at a write", f"{self.aimed}"),
            ("  that left an unfinished write", f"{self.in_a_write}"),
            ("resumed", f"{self.resumed}"),
            ("  from a checkpoint", f"{self.from_a_checkpoint}"),
            ("  from the beginning, none saved yet", f"{self.from_the_beginning}"),
            ("killed again before it said from where", f"{self.killed_before_it_said}"),
            ("runs that ended", f"{self.runs}"),
            ("  with other weights or another log", f"{len(self.unequal)}"),
        ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.drill", description="Kill, resume, compare.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where runs are kept to look at; else a temporary one")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error(f"--kills must be at least 1, got {options.kills}")
    if not hasattr(os, "fork"):
        parser.error("this needs a system with fork, such as Linux or macOS")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        tally = drill(options.kills, options.seed, options.folder or Path(temporary))
    for name, value in tally.lines():
        print(f"{name:40} {value}")
    print(f"{'minutes':40} {(time.monotonic() - started) / 60:.1f}")
    for what in tally.unequal:
        print(f"UNEQUAL {what}")
    good = not tally.unequal and tally.resumed + tally.killed_before_it_said == tally.kills
    again = f"{tally.killed_before_it_said} killed again before it said so"
    end = "all weights equal" if good else "NOT all weights equal, or a kill that nothing followed"
    print(f"{tally.kills} kills, {tally.resumed} resumed, {again}, {end}")
    return 0 if good else 1


def drill(n_kills: int, seed: int, folder: Path) -> Tally:
    """Runs one after another until `n_kills` processes were killed and the last run has ended.

    RuntimeError: a process failed by itself.
    """
    train = warm()
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    make_inputs(folder)
    begun = time.monotonic()
    child = Child(train, folder, "undisturbed")
    child.wait()
    seconds = time.monotonic() - begun
    expected = outcome(folder / "undisturbed")
    print(f"undisturbed: {seconds:.1f} s, sha256 of the weights {expected[WEIGHTS[0]][:16]}…", flush=True)
    tally = Tally()
    while tally.kills < n_kills:
        name = f"run-{tally.runs:02d}"
        until_it_ends(train, folder, name, n_kills, draw, seconds, tally)
        tally.runs += 1
        got = outcome(folder / name)
        differing = [what for what in expected if got[what] != expected[what]]
        tally.unequal += [f"{name}: {what}" for what in differing]
        print(f"{name}: {tally.kills} kills so far, {'UNEQUAL' if differing else 'equal'}", flush=True)
        if not differing:
            shutil.rmtree(folder / name)
    return tally


def warm() -> Callable[[list[str]], int]:
    """The command's `main`, torch imported and no thread started."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "COURSE_THREADS"):
        os.environ[variable] = "1"  # before numpy and torch are imported
    os.environ["COURSE_QUIET"] = "1"
    import torch

    from helpers.gpt import tokenizer
    from helpers.labs import pretrain

    tokenizer.gpt2()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first one imports half of torch, for seconds
    return pretrain.main


def make_inputs(folder: Path) -> None:
    draw = random.Random(0)
    words = ["rain", "fell", "on", "the", "roof", "and", "nobody", "came", "home", "before", "night", "was", "over"]
    documents = [" ".join(draw.choices(words, k=N_WORDS // 10)) for _ in range(10)]
    (folder / "text.txt").write_text("\f".join(documents), encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")


class Child:
    """A process that runs the command; what it says goes to folder/NAME.said."""

    def __init__(self, train: Callable[[list[str]], int], folder: Path, name: str) -> None:
        self.out, self.said = folder / name, folder / f"{name}.said"
        arguments = ["--text", str(folder / "text.txt"), "--config", str(folder / "plan.json"), "--device", "cpu"]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                sink = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(sink, 1), os.dup2(sink, 2)
                status = train([*arguments, "--out", str(self.out)])
            finally:
                os._exit(status)
        self.begun = time.monotonic()
        self.status: int | None = None

    def ended(self) -> bool:
        """Whether it has ended by itself. RuntimeError: it failed, or it takes too long."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        late = self.status is None and time.monotonic() - self.begun > MAX_SECONDS
        if late:
            self.kill()
        if late or self.status:
            raise RuntimeError(
                f"{self.out}: {'too late' if late else f'status {self.status}'}\n{self.said.read_text()}"
            )
        return self.status is not None

    def wait(self, seconds: float = MAX_SECONDS + 1, until: Callable[[], bool] = lambda: False) -> bool:
        """Let it work until `until` holds or the seconds are over; whether it has ended by itself meanwhile."""
        end = time.monotonic() + seconds
        while not self.ended():
            if until() or time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def kill(self) -> bool:
        """Whether the kill hit it: it may have ended in the same moment."""
        os.kill(self.pid, signal.SIGKILL)  # sound: until it is waited for, nobody else gets its number
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status == -signal.SIGKILL


def until_it_ends(
    train: Callable, folder: Path, name: str, n_kills: int, draw: random.Random, seconds: float, tally: Tally
) -> None:
    """One run: a process after another, each killed at a moment of its own, until one comes to the end."""
    out = folder / name
    killed = False
    while True:
        start, stale, left = newest_step(out), log_id(out), unfinished(out)
        child = Child(train, folder, name)
        aimed = draw.random() < 0.5
        enough = tally.kills >= n_kills
        ended = child.wait() if enough else strike(child, out, aimed, draw, seconds)
        ended = ended or not child.kill()
        if killed:  # what this process went on from, as it should
            note_resumption(child, start, ended, tally)
        if ended:
            return
        killed = True
        n_updates = updates_since(out, start or 0) if log_id(out) != stale else 0
        tally.kills += 1
        tally.aimed += aimed
        tally.in_start_up += n_updates == 0
        tally.after_updates += n_updates > 0
        tally.updates_of_killed += [n_updates] if n_updates else []
        tally.in_a_write += bool(unfinished(out) - left)


def strike(child: Child, out: Path, aimed: bool, draw: random.Random, seconds: float) -> bool:
    """Wait for the moment to kill; whether the process has ended before."""
    if not aimed:
        return child.wait(draw.uniform(0, RANDOM_SHARE * seconds))
    if child.wait(draw.uniform(0, AIMED_SHARE * seconds)):
        return True
    before = unfinished(out)
    ended = child.wait(until=lambda: bool(unfinished(out) - before))
    return ended or child.wait(draw.choice([0.0, draw.uniform(0, 0.01)]))


def note_resumption(child: Child, start: int | None, ended: bool, tally: Tally) -> None:
    """Count the process after a kill. It is believed for what it says, where it lived long enough to say it."""
    said = child.said.read_text() if child.said.exists() else ""
    went_on = f"going on from step {start} (" in said
    begun_anew = "step 0 " in said and "going on from" not in said
    if start is not None and begun_anew:
        tally.unequal.append(f"{child.out.name}: began anew though step {start} was saved")
    if "passed over" in said or (ended and start is not None and not went_on):
        tally.unequal.append(f"{child.out.name}: {said}")
    tally.from_a_checkpoint += went_on
    tally.from_the_beginning += begun_anew
    tally.killed_before_it_said += not ended and not went_on and not begun_anew


def unfinished(out: Path) -> set[str]:
    """Names of what is being written, or was when the process was killed."""
    found = set()
    for folder in (out, out / "checkpoints", out / "ids"):
        try:
            found |= {name for name in os.listdir(folder) if any(mark in name for mark in UNFINISHED)}
        except FileNotFoundError:
            continue
    return found


def newest_step(out: Path) -> int | None:
    steps = [int(path.name.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*")]
    return max(steps, default=None)


def log_id(out: Path) -> int | None:
    """Changes when a process has begun to train: it writes the log anew before."""
    log = out / "log.jsonl"
    return log.stat().st_ino if log.exists() else None


def updates_since(out: Path, step: int) -> int:
    return sum('"kind": "update"' in line and json.loads(line)["step"] >= step for line in whole_lines(out))


def whole_lines(out: Path) -> list[str]:
    text = (out / "log.jsonl").read_text() if (out / "log.jsonl").exists() else ""
    return text.split("\n")[:-1]


def outcome(out: Path) -> dict[str, str]:
    """What must be equal: a sha256 of each file of weights, and the log without its seconds."""
    hashes = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in WEIGHTS}
    lines = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in whole_lines(out)]
    return hashes | {"log.jsonl": json.dumps(lines)}


if __name__ == "__main__":
    sys.exit(main())
