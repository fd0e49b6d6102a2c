"""One job in a process of its own: `python -m helpers.labs.speed.worker module:function '{"argument": 1}'`.

The last line of its output is JSON: the function's numbers and the machine, or why there are none.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from helpers import runtime
from helpers.labs.speed.harness import Report, Skip, out_of_memory
from helpers.labs.speed.machine import check_device, facts

MAX_WORDS = 120  # characters of the allocator's message


def measure(function: str, job: dict) -> Report:
    """Call "module:function" with the job's arguments, everything seeded, and report."""
    module, name = function.split(":")
    target = getattr(import_module(module), name)
    check_device(job.get("device", "cpu"))
    runtime.start(seed=0)
    report = {"machine": facts(job.get("device", "cpu"))}
    try:
        return report | {"status": "ok"} | target(**job)
    except Skip as lack:
        return report | {"status": "skipped", "reason": str(lack)}
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        what = (str(error) or "nothing more to be had").splitlines()[0][:MAX_WORDS]
        return report | {"status": "failed", "reason": f"out of memory: {what}", "out_of_memory": True}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
