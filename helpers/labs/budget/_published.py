"""Published runs of OPT-125M that fitted a graphics card or did not, beside what the prediction says of each."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.gpt import preset
from helpers.labs.budget._memory import Memory, memory
from helpers.labs.budget._phases import logits_bytes
from helpers.labs.budget._tensors import FLOAT32

GIB = 2**30
T4_BYTES, A100_BYTES = int(14.75 * GIB), int(39.56 * GIB)  # of "16 GB" and "40 GB", what torch says is there


@dataclass(frozen=True)
class PublishedRun:
    """A row of the class's report: OPT-125M, rows of `context_length` tokens, and whether training ran to its end."""

    context_length: int
    batch_size: int
    card: str
    available_bytes: int
    fitted: bool


PUBLISHED_RUNS = (
    PublishedRun(256, 4, "T4 16 GB", T4_BYTES, True),
    PublishedRun(512, 4, "T4 16 GB", T4_BYTES, False),
    PublishedRun(512, 8, "A100 40 GB", A100_BYTES, True),  # one epoch
    PublishedRun(512, 8, "A100 40 GB", A100_BYTES, True),  # two epochs: the same memory
    PublishedRun(1024, 16, "A100 40 GB", A100_BYTES, False),
)


@dataclass(frozen=True)
class Explanation:
    """What a published run would have held, by assumption, in bytes; float32 throughout.

    today         the course's own update: fused attention, the loss in chunks
    unfused       all logits at once, attention weights kept
    of_the_time   the same with what the libraries of 2023 kept beside it
    kept_tokens   logits of how many tokens the card could hold beside weights and moments, in an evaluation that keeps
                  them; the exercise's validation has 50,000 texts
    """

    run: PublishedRun
    today: Memory
    unfused: Memory
    of_the_time: int
    kept_tokens: int

    @property
    def explained(self) -> bool:
        """Whether training alone, in the software of the time, gives what was reported."""
        return (self.of_the_time <= self.run.available_bytes) == self.run.fitted


def explain(run: PublishedRun) -> Explanation:
    """The run's memory under each assumption.

    Attention's own dropout is off in OPT-125M; the masks of the other dropouts, a byte a number, are left out. Of the
    time: attention kept the masked scores beside the weights, and the loss shifted the logits into a copy.
    Source: `OPTAttention` and `OPTForCausalLM` of transformers as they were in 2023, read, not run.
    """
    config = preset("opt-125m", drop_rate=0.0)
    size = (config, run.batch_size, run.context_length)
    today = memory(*size, device="cuda")
    unfused = memory(*size, fused_attention=False, chunked_loss=False, device="cuda")
    squares = FLOAT32 * config.n_layers * config.n_heads * run.batch_size * run.context_length**2
    of_the_time = unfused.peak_bytes + squares + logits_bytes(unfused.run)
    room = run.available_bytes - today.weights_bytes - today.moments_bytes - today.slack_bytes
    return Explanation(run, today, unfused, of_the_time, room // (FLOAT32 * config.vocab_size))
