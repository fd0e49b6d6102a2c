"""What a training run costs: parameters, floating-point operations, memory, time, money and energy, from its config."""

# isort: off
from helpers.labs.budget.communication import all_reduce_bytes, bytes_per_rank, ranks_needed, replicated_limit, scaling
from helpers.labs.budget.counting import REPORTED_T4_TOKENS_PER_S, SECONDS_PER_HOUR, cache_bytes, cost
from helpers.labs.budget.counting import matmul_flops_per_token
from helpers.labs.budget.counting import parameter_count, readable_bytes, readable_count, readable_time
from helpers.labs.budget.counting import training_seconds, updates_within
from helpers.labs.budget.fitting import Fit, fits, plan
from helpers.labs.budget.peak import A100_BYTES, DEVICES, T4_BYTES, Memory, memory

# fmt: off
__all__ = [
    "A100_BYTES", "DEVICES", "REPORTED_T4_TOKENS_PER_S", "SECONDS_PER_HOUR", "T4_BYTES", "Fit", "Memory",
    "all_reduce_bytes", "bytes_per_rank", "cache_bytes", "cost", "fits", "matmul_flops_per_token", "memory",
    "parameter_count", "plan", "ranks_needed", "readable_bytes", "readable_count", "readable_time",
    "replicated_limit", "scaling", "training_seconds", "updates_within",
]
