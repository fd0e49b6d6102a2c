"""What a training run costs: parameters, floating-point operations, memory, time, money and energy, from its config."""

from helpers.labs.budget.communication import (
    INTERCONNECTS,
    all_reduce_bytes,
    bytes_per_rank,
    ranks_needed,
    replicated_limit,
    scaling,
)
from helpers.labs.budget.counting import (
    REPORTED_T4_TOKENS_PER_S,
    SECONDS_PER_HOUR,
    cost,
    matmul_flops_per_token,
    parameter_count,
    readable_bytes,
    readable_count,
    readable_time,
    training_seconds,
    updates_within,
)
from helpers.labs.budget.fitting import CHANGES, Fit, fits, plan
from helpers.labs.budget.peak import A100_BYTES, CPU_LIBRARIES, DEVICES, T4_BYTES, Memory, memory

__all__ = [
    "A100_BYTES",
    "CHANGES",
    "CPU_LIBRARIES",
    "DEVICES",
    "INTERCONNECTS",
    "REPORTED_T4_TOKENS_PER_S",
    "SECONDS_PER_HOUR",
    "T4_BYTES",
    "Fit",
    "Memory",
    "all_reduce_bytes",
    "bytes_per_rank",
    "cost",
    "fits",
    "matmul_flops_per_token",
    "memory",
    "parameter_count",
    "plan",
    "ranks_needed",
    "readable_bytes",
    "readable_count",
    "readable_time",
    "replicated_limit",
    "scaling",
    "training_seconds",
    "updates_within",
]
