"""What a training run costs: parameters, floating-point operations, memory, time, money and energy, from its config."""

from helpers.labs.budget._communication import (
    LINKS,
    Link,
    Scaling,
    WorkerBytes,
    all_reduce_bytes,
    communication_seconds,
    replicated_limit,
    scaling,
    sharded_bytes_per_worker,
    sharded_step_bytes,
    workers_needed,
)
from helpers.labs.budget._cost import (
    DAYS_PER_MONTH,
    SECONDS_PER_DAY,
    SECONDS_PER_HOUR,
    Cost,
    cost,
    matmul_flops_per_token,
    parameter_count,
    readable_bytes,
    readable_count,
    readable_time,
    training_seconds,
)
from helpers.labs.budget._memory import DEVICES, Memory, memory
from helpers.labs.budget._plan import Change, Fit, fits, plan
from helpers.labs.budget._published import PUBLISHED_RUNS, Explanation, PublishedRun, explain
from helpers.labs.budget._tensors import Kept

__all__ = [
    "DAYS_PER_MONTH",
    "DEVICES",
    "LINKS",
    "PUBLISHED_RUNS",
    "SECONDS_PER_DAY",
    "SECONDS_PER_HOUR",
    "Change",
    "Cost",
    "Explanation",
    "Fit",
    "Kept",
    "Link",
    "Memory",
    "PublishedRun",
    "Scaling",
    "WorkerBytes",
    "all_reduce_bytes",
    "communication_seconds",
    "cost",
    "explain",
    "fits",
    "matmul_flops_per_token",
    "memory",
    "parameter_count",
    "plan",
    "readable_bytes",
    "readable_count",
    "readable_time",
    "replicated_limit",
    "scaling",
    "sharded_bytes_per_worker",
    "sharded_step_bytes",
    "training_seconds",
    "workers_needed",
]
