"""The benchmarks' harness: jobs in fresh processes, interleaved in rounds, compared within a round; a table, a record.

A job is a function, named "module:function", and its arguments. The function runs in a process of its own and returns a
dict of numbers; it raises `Skip` where the machine lacks something.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread

from helpers import runtime
from helpers.labs.speed.machine import check_device, facts
from helpers.storage import write_aside

ROOT = Path(__file__).resolve().parents[3]  # the folder that `helpers` lies in
MAX_REASON, MAX_WORDS = 300, 120  # characters of a process's last line, and of the allocator's message
WORK = "from helpers.labs.speed.harness import work; work()"

Report = dict  # {"status": "ok", ...numbers} or {"status": "skipped" or "failed", "reason": ...}
Round = dict[str, Report]  # name of a variant -> its report


class Skip(Exception):
    """What the machine lacks for a job, in words."""


def run_rounds(
    function: str,
    jobs: dict[str, dict],
    n_rounds: int,
    threads: int,
    tell: Callable[[str], None],
    environment: dict[str, str] | None = None,
) -> list[Round]:
    """A B C, A B C: what disturbs the machine for a while disturbs all variants alike.

    jobs  variant -> the arguments of `function`, which must survive JSON
    tell  called with a line before each process starts; the rest as for `run`
    """
    rounds = []
    for number in range(1, n_rounds + 1):
        rounds.append({})
        for name, job in jobs.items():
            tell(f"round {number} of {n_rounds}: {name}")
            rounds[-1][name] = run(function, job, threads, environment)
    return rounds


def run(function: str, job: dict, threads: int, environment: dict[str, str] | None = None) -> Report:
    """The report of a fresh process; a process that broke is reported as failed, with its last line.

    threads      of the CPU
    environment  variables besides those that all processes get
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORK, function, json.dumps(job), str(os.getpid())],
        env=os.environ | _settings(threads) | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].replace(str(ROOT), ".").replace(sys.prefix, "")
        return {"status": "failed", "reason": f"{last[:MAX_REASON]} (exit code {done.returncode})"}
    return json.loads(done.stdout.splitlines()[-1])


def work() -> None:
    """In the process of a job: call its function, everything seeded, and print the report as the last line."""
    function, job, parent = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    module, name = function.split(":")
    target = getattr(import_module(module), name)
    check_device(job.get("device", "cpu"))
    runtime.start(seed=0)
    report = {"machine": facts(job.get("device", "cpu"))}
    try:
        report |= {"status": "ok"} | target(**job)
    except Skip as lack:
        report |= {"status": "skipped", "reason": str(lack)}
    except (RuntimeError, MemoryError) as error:
        if not runtime.out_of_memory(error):
            raise
        what = (str(error) or "nothing more to be had").splitlines()[0][:MAX_WORDS]
        report |= {"status": "failed", "reason": f"out of memory: {what}", "out_of_memory": True}
    print(json.dumps(report))


def end_with_parent(parent: int) -> None:
    """Ends this process once `parent` is gone, which alone reads what it finds: the next would measure beside it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def _settings(threads: int) -> dict[str, str]:
    """Where `helpers` is found, which may be a folder beside the notebooks; threads; a quiet, offline process."""
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    names = dict.fromkeys(("COURSE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return names | {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}


def problem(name: str, rounds: Sequence[Round]) -> Report | None:
    """The first report of a variant that is not "ok"; None: all are."""
    return next((round_[name] for round_ in rounds if round_[name]["status"] != "ok"), None)


def median(name: str, key: str, rounds: Sequence[Round]) -> float:
    """Of one number of a variant, over the rounds."""
    return statistics.median(round_[name][key] for round_ in rounds)


def ratio(name: str, key: str, baseline: str, rounds: Sequence[Round]) -> dict[str, float] | None:
    """{"median", "min", "max"} over the rounds of the variant's number over the baseline's in the same round.

    None: no round has both.
    """
    values = [
        round_[name][key] / round_[baseline][key]
        for round_ in rounds
        if key in round_.get(name, {}) and round_.get(baseline, {}).get(key)
    ]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def spread(found: dict[str, float] | None) -> str:
    """A ratio for a table: "2.03 (1.98 to 2.10)"."""
    return "-" if found is None else f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def text_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns side by side, each as wide as its cells; an empty end of a row leaves room for what stands before it."""
    lines = [list(map(str, line)) for line in (columns, *rows)]
    for line in lines:
        while line[-1] == "":
            line.pop()
    widths = [max((len(line[i]) for line in lines if i < len(line) - 1), default=0) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=False)).rstrip() for line in lines)


def write_json(path: str | Path, content: dict) -> Path:
    """Store a record; folders that lack are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode("utf-8"))
    return path
