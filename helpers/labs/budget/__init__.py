"""What a training run costs: parameters, floating-point operations, memory, time, money and energy, from its config."""

# isort: off
from helpers.labs.budget.activations import DEVICES
from helpers.labs.budget.counting import MOMENTS, REPORTED_T4_TOKENS_PER_S, SECONDS_PER_HOUR, all_reduce_bytes
from helpers.labs.budget.counting import bytes_per_rank, cache_bytes, cost, matmul_flops_per_token, parameter_count
from helpers.labs.budget.counting import ranks_needed, readable_bytes, readable_count, readable_time, replicated_limit
from helpers.labs.budget.counting import scaling, training_seconds, updates_within
from helpers.labs.budget.fitting import SAVINGS, Fit, fits, plan
from helpers.labs.budget.peak import A100_BYTES, CUDA_CONTEXT, CUDA_FRAGMENTS, T4_BYTES, Memory, memory

# fmt: off
__all__ = [
    "A100_BYTES", "CUDA_CONTEXT", "CUDA_FRAGMENTS", "DEVICES", "MOMENTS", "REPORTED_T4_TOKENS_PER_S", "SAVINGS",
    "SECONDS_PER_HOUR", "T4_BYTES", "Fit", "Memory", "all_reduce_bytes", "bytes_per_rank", "cache_bytes", "cost",
    "fits", "matmul_flops_per_token", "memory", "parameter_count", "plan", "ranks_needed", "readable_bytes",
    "readable_count", "readable_time", "replicated_limit", "scaling", "training_seconds", "updates_within",
]
