"""Writing by one variant, in a process of its own: `python -m tools.bench.writing '{"variant": "plain", ...}'`.

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
from helpers.gpt import GPT, GPTConfig
from helpers.labs.measuring.device import NO_BFLOAT16, check_device, multiplies_bfloat16, wait
from tools.bench.writers import WRITERS, Write

SEED = 0
WARMUP_TOKENS = 8
# Fresh weights repeat the last token whatever the model computes. With positions and blocks so much larger,
# the text changes and looks at its past; larger still, rounding would decide it.
POSITIONS_TIMES, BLOCKS_TIMES = 8, 5


@dataclass(frozen=True)
class Job:
    """What one process measures.

    variant        a name in WRITERS
    config         fields of GPTConfig
    prompt_length  tokens of the prompt, one row of random ids
    new_tokens     how many tokens are written, one or several numbers; with the prompt they fit the context
    repeats        how often each is timed, at least 1
    device         "cpu" or "cuda"
    """

    variant: str
    config: dict
    prompt_length: int
    new_tokens: list[int]
    repeats: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.variant not in WRITERS:
            raise ValueError(f"no variant named {self.variant!r}; there are {', '.join(WRITERS)}")
        if not self.new_tokens or min(*self.new_tokens, self.prompt_length, self.repeats) < 1:
            raise ValueError(
                "prompt_length, new_tokens and repeats must be at least 1, "
                f"got {self.prompt_length}, {self.new_tokens} and {self.repeats}"
            )
        longest, context = self.prompt_length + max(self.new_tokens), self.config["context_length"]
        if longest > context:
            raise ValueError(f"a text of {longest} tokens does not fit the context of {context}: write fewer")
        check_device(self.device)


def measure(job: Job) -> dict:
    """Let the variant write and report.

    return  status "ok" with n_params and, under lengths, for each of new_tokens as text: seconds_per_token and
            tokens_per_s (medians over the repeats, the prompt's reading included), tokens (the new ids), cache_bytes
            at the end; or "skipped" with the reason
    """
    lab = runtime.start(SEED)
    report = {"status": "ok", "threads": lab.threads, "torch": torch.__version__}
    if WRITERS[job.variant].precision == "bfloat16" and not multiplies_bfloat16(job.device):
        return report | NO_BFLOAT16
    model = lively(GPTConfig(**job.config)).to(job.device)  # the seed gives every variant the same weights
    generator = torch.Generator().manual_seed(SEED)
    prompt = torch.randint(job.config["vocab_size"], (1, job.prompt_length), generator=generator).to(job.device)
    n_params, write = WRITERS[job.variant].build(model)
    write(prompt, min(WARMUP_TOKENS, *job.new_tokens))
    lengths = {str(n_new): _timed(write, prompt, n_new, job) for n_new in job.new_tokens}
    return report | {"n_params": n_params, "lengths": lengths}


@torch.no_grad()
def lively(config: GPTConfig) -> GPT:
    """Random weights that make the model's tokens change, so that their equality says something."""
    model = GPT(config).eval()
    model.position_embedding.weight.mul_(POSITIONS_TIMES)
    for parameter in model.blocks.parameters():
        if parameter.ndim == 2:
            parameter.mul_(BLOCKS_TIMES)
    return model


def _timed(write: Write, prompt: torch.Tensor, n_new: int, job: Job) -> dict:
    seconds = []
    for _ in range(job.repeats):
        wait(job.device)
        start = time.perf_counter()
        text, cache_bytes = write(prompt, n_new)
        wait(job.device)
        seconds.append((time.perf_counter() - start) / n_new)
    if text.shape != (1, job.prompt_length + n_new):
        raise ValueError(f"expected {n_new} new tokens after {job.prompt_length}, got a text of {tuple(text.shape)}")
    middle = statistics.median(seconds)
    tokens = text[0, job.prompt_length :].tolist()
    return {"seconds_per_token": middle, "tokens_per_s": 1 / middle, "tokens": tokens, "cache_bytes": cache_bytes}


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
