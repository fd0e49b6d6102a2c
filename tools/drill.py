"""The kill-and-resume test: kill a training run, resume it each time, and compare its end with an undisturbed run's.

    python -m tools.drill [--kills 100] [--seed 0]

A kill is a SIGKILL. They come in turn at a random moment, start-up included, and as soon as a file or folder is being
written after one. After a kill the same command is run again, until the run ends; then the next run begins,
until there were as many kills as asked for. Of every run the weights (final and best) must be those of the undisturbed
run byte for byte, and the log line by line, its seconds aside.

Every process is forked from one that has imported torch and computed nothing: with one thread no pool has been started
that a child could miss, and a process takes a tenth of a second to start instead of seconds.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

N_STEPS = 30
PLAN = {
    "model": {"context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 1, "drop_rate": 0.1},
    "train": {"n_steps": N_STEPS, "learning_rate": 0.01, "warmup_steps": 5, "eval_every": 5},
    "batch_size": 4,
    "save_every": 2,
}
WORDS = ["rain", "fell", "on", "the", "roof", "and", "nobody", "came", "home", "before", "night", "was", "over"]
UNFINISHED = (".unfinished", ".replaced")  # ends of the names of what is being written
WEIGHTS = ("model/model.safetensors", "best/model.safetensors")
ASIDE = ("seconds", "crc32")  # of a line of the log: when it came, and its sum
MAX_SECONDS = 300  # of one process
POLL_SECONDS = 0.0005
LATEST = 0.5  # of the undisturbed run's time: until when the random moment comes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.drill", description="Kill, resume, compare.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error(f"--kills must be at least 1, got {options.kills}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        counts, wrong = drill(options.kills, options.seed, Path(temporary))
    for name, count in counts.items():
        print(f"{name:40} {count}")
    print(f"{'minutes':40} {(time.monotonic() - started) / 60:.1f}")
    for what in wrong:
        print(f"WRONG {what}")
    return verdict(counts, wrong)


def verdict(counts: Counter, wrong: list[str]) -> int:
    """Say in one line what came of the kills; 0 where each was followed by a run that ended as it should."""
    resumed, silent = counts["from a checkpoint"] + counts["from the beginning"], counts["killed again, silent"]
    good = not wrong and resumed + silent == counts["kills"]
    end = "all weights equal" if good else "NOT all weights equal, or a kill that nothing followed"
    print(f"{counts['kills']} kills, {resumed} resumed, {silent} killed again before it said so, {end}")
    return 0 if good else 1


def drill(n_kills: int, seed: int, folder: Path) -> tuple[Counter, list[str]]:
    """Runs one after another until `n_kills` processes were killed and the last run has ended: what became of the
    kills, and what was wrong. RuntimeError: a process failed by itself."""
    train, draw = warm(), random.Random(seed)
    documents = [" ".join(random.Random(i).choices(WORDS, k=150)) for i in range(10)]
    (folder / "text.txt").write_text("\f".join(documents), encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    begun = time.monotonic()
    Child(train, folder, "undisturbed").wait()
    seconds, expected = time.monotonic() - begun, outcome(folder / "undisturbed")
    print(f"undisturbed: {seconds:.1f} s, sha256 of the weights {expected[WEIGHTS[0]][:16]}…", flush=True)
    counts, wrong = Counter(), []
    while counts["kills"] < n_kills:
        name = f"run-{counts['runs']:02d}"
        wrong += until_it_ends(train, folder, name, n_kills, draw, seconds, counts)
        counts["runs"] += 1
        got = outcome(folder / name)
        differing = [f"{name}: other {what}" for what in expected if got[what] != expected[what]]
        wrong += differing
        print(f"{name}: {counts['kills']} kills so far, {'UNEQUAL' if differing else 'equal'}", flush=True)
        if not differing:
            shutil.rmtree(folder / name)
    return counts, wrong


def until_it_ends(
    train: Callable, folder: Path, name: str, n_kills: int, draw: random.Random, seconds: float, counts: Counter
) -> list[str]:
    """One run: a process after another, each killed at a moment of its own, until one comes to the end. What was wrong
    in how they went on."""
    out, killed, wrong = folder / name, False, []
    while True:
        start, left = newest_step(out), unfinished(out)
        child = Child(train, folder, name)
        if counts["kills"] >= n_kills:
            ended = child.wait()
        else:
            ended = child.wait(draw.uniform(0, LATEST * seconds))
            if counts["kills"] % 2:
                before = unfinished(out)
                ended = ended or child.wait(until=lambda before=before: bool(unfinished(out) - before))
            ended = ended or not child.kill()
        if killed:
            how = resumption(child.said.read_text() if child.said.exists() else "", start, ended)
            counts[how] += 1
            wrong += [f"{name}: {how}"] if how.startswith("wrong") else []
        if ended:
            return wrong
        killed = True
        counts["kills"] += 1
        counts["  that left an unfinished write"] += bool(unfinished(out) - left)


def resumption(said: str, start: int | None, ended: bool) -> str:
    """From where the process after a kill went on, as it said itself; "wrong: ..." where that is not as it should be.

    said   by that process; ended  by itself
    start  the newest checkpoint when it began, None where there was none
    """
    if "passed over" in said or (start is not None and "step 0 " in said and "going on from" not in said):
        return f"wrong: step {start} was saved, and then {said!r}"
    if f"going on from step {start} (" in said:
        return "from a checkpoint"
    if "step 0 " in said:
        return "from the beginning"
    return "killed again, silent" if not ended else f"wrong: it ended without a word about its beginning: {said!r}"


def warm() -> Callable[[list[str]], int]:
    """The command's `main`, torch imported and no thread started."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "COURSE_THREADS"):
        os.environ[variable] = "1"  # before numpy and torch are imported
    import torch

    from helpers.gpt import tokenizer
    from helpers.labs import pretrain

    tokenizer.gpt2()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first one imports half of torch, for seconds
    return pretrain.main


class Child:
    """A process that runs the command; what it says goes to folder/NAME.said."""

    def __init__(self, train: Callable[[list[str]], int], folder: Path, name: str) -> None:
        self.out, self.said = folder / name, folder / f"{name}.said"
        self.said.unlink(missing_ok=True)  # of the process before
        self.process = multiprocessing.get_context("fork").Process(target=self._work, args=(train,))
        self.process.start()

    def _work(self, train: Callable[[list[str]], int]) -> None:
        text, plan = (str(self.out.parent / name) for name in ("text.txt", "plan.json"))
        with open(self.said, "w", buffering=1) as said, redirect_stdout(said), redirect_stderr(said):
            try:
                sys.exit(train(["--text", text, "--config", plan, "--device", "cpu", "--out", str(self.out)]))
            except Exception:  # which the parent shows with the rest of what was said
                traceback.print_exc()
                sys.exit(1)

    def wait(self, seconds: float = MAX_SECONDS, until: Callable[[], bool] = lambda: False) -> bool:
        """Let it work until `until` holds or the seconds are over; whether it has ended by itself meanwhile.

        RuntimeError: it failed.
        """
        end = time.monotonic() + seconds
        while self.process.is_alive() and not until() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        if self.process.exitcode:
            raise RuntimeError(f"{self.out}: status {self.process.exitcode}\n{self.said.read_text()}")
        return self.process.exitcode == 0

    def kill(self) -> bool:
        """Whether the kill hit it: it may have ended in the same moment."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL


def unfinished(out: Path) -> set[str]:
    """Names of what is being written, or was when the process was killed."""
    folders = [folder for folder in (out, out / "checkpoints", out / "ids") if folder.exists()]
    return {name for folder in folders for name in os.listdir(folder) if name.endswith(UNFINISHED)}


def newest_step(out: Path) -> int | None:
    steps = [int(path.name.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*")]
    return max(steps, default=None)


def outcome(out: Path) -> dict[str, str]:
    """What must be equal: a sha256 of each file of weights, and the log without its seconds."""
    hashes = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in WEIGHTS}
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return hashes | {"log.jsonl": str([{k: v for k, v in line.items() if k not in ASIDE} for line in lines])}


if __name__ == "__main__":
    sys.exit(main())
