"""Training by one variant, in a process of its own: `python -m tools.bench.worker '{"variant": "plain", ...}'`.

The last line of its output is JSON: the numbers, or why the variant was skipped.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import dataclass

import torch

from helpers import runtime
from helpers.gpt import GPTConfig
from helpers.labs.measuring.device import NO_BFLOAT16, check_device, multiplies_bfloat16, peak_bytes, wait
from tools.bench.variants import VARIANTS, Batch

SEED = 0


@dataclass(frozen=True)
class Job:
    """What one process measures.

    variant       a name in VARIANTS
    config        fields of GPTConfig; the head is tied or not as the variant says
    batch_size    B, rows of every batch; each has context_length tokens
    warmup_steps  updates before the clock starts, at least 1: the first allocates
    timed_steps   updates that are timed, at least 1
    device        "cpu" or "cuda"
    """

    variant: str
    config: dict
    batch_size: int
    warmup_steps: int
    timed_steps: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"no variant named {self.variant!r}; there are {', '.join(VARIANTS)}")
        for name in ("batch_size", "warmup_steps", "timed_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_device(self.device)


def measure(job: Job) -> dict:
    """Train the variant and report.

    return  status "ok" with tokens_per_s (median over the timed steps), peak_bytes, peak_above_imports_bytes (the
            growth of the peak since the imports), n_params, losses of all steps; or "skipped" with the reason
    """
    lab = runtime.start(SEED)
    report = {"status": "ok", "threads": lab.threads, "torch": torch.__version__}
    if VARIANTS[job.variant].precision == "bfloat16" and not multiplies_bfloat16(job.device):
        return report | NO_BFLOAT16
    if job.variant == "transformers":
        import transformers

        transformers.logging.set_verbosity_error()
        from transformers import GPT2LMHeadModel  # noqa: F401 its memory belongs to the imports, not to the model
    at_rest = peak_bytes(job.device)
    config = GPTConfig(**job.config)
    n_steps = job.warmup_steps + job.timed_steps
    batches = make_batches(config, job.batch_size, n_steps, job.device)
    n_params, step = VARIANTS[job.variant].build(config, batches, n_steps)
    losses, seconds = [], []
    for _ in range(n_steps):
        start = time.perf_counter()
        losses.append(step())  # its .item() waits for the device, up to the optimizer's own work
        wait(job.device)
        seconds.append(time.perf_counter() - start)
    n_tokens = job.batch_size * config.context_length
    peak = peak_bytes(job.device)
    return report | {
        "tokens_per_s": n_tokens / statistics.median(seconds[job.warmup_steps :]),
        "peak_bytes": peak,
        "peak_above_imports_bytes": peak - at_rest,
        "n_params": n_params,
        "losses": losses,
    }


def make_batches(config: GPTConfig, batch_size: int, n_batches: int, device: str) -> list[Batch]:
    """(token_ids, targets) of random ids, the same for every variant: both (B, T) int64 views of B x (T + 1) ids."""
    generator = torch.Generator().manual_seed(SEED)
    shape = (n_batches, batch_size, config.context_length + 1)
    ids = torch.randint(config.vocab_size, shape, generator=generator).to(device)
    return [(rows[:, :-1], rows[:, 1:]) for rows in ids]


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
