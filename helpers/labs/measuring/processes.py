"""Rounds of fresh processes, A B C, A B C, so that a change of the machine hits all variants alike."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # the folder that `helpers` lies in
MAX_REASON = 300


def run_rounds(worker: str, jobs: dict[str, dict], n_rounds: int, threads: int) -> list[dict[str, dict]]:
    """One dict per round, variant name -> its report.

    worker  module that is run for each job, such as "tools.bench.worker"
    jobs    variant name -> what the worker gets as JSON
    """
    rounds = []
    for number in range(1, n_rounds + 1):
        rounds.append({})
        for name, job in jobs.items():
            print(f"{worker}, round {number} of {n_rounds}: {name}", file=sys.stderr, flush=True)
            rounds[-1][name] = run_worker(worker, job, threads)
    return rounds


def run_worker(worker: str, job: dict, threads: int, extra: dict[str, str] | None = None) -> dict:
    """The worker's report, or {"status": "failed", "reason": its last line} when the process did not end well.

    extra  environment variables besides those that all workers get
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", worker, json.dumps(job)],
        env=os.environ | _search_path() | environment(threads) | (extra or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].replace(str(ROOT), ".").replace(sys.prefix, "")
        return {"status": "failed", "reason": f"{last[:MAX_REASON]} (exit code {done.returncode})"}
    if not done.stdout.strip():
        return {"status": "failed", "reason": f"{worker} printed no report (exit code 0)"}
    return json.loads(done.stdout.splitlines()[-1])


def _search_path() -> dict[str, str]:
    """Where a worker finds `helpers`, which may be a folder beside the notebooks; an installed one it finds itself."""
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    if str(ROOT) in map(os.path.realpath, installed):
        return {}
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def environment(threads: int) -> dict[str, str]:
    """What every worker is started with, the same for all variants."""
    return {
        "COURSE_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
    }
