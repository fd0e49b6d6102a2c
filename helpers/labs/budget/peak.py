"""The memory that training a GPT takes, predicted from its config: parts, phases, and the peak over the phases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from helpers.gpt import GPTConfig
from helpers.labs.budget.activations import (
    ELEMENT_BYTES,
    FLOAT32,
    Run,
    activations_bytes,
    copies_bytes,
    kept_tensors,
)
from helpers.labs.budget.communication import MOMENTS
from helpers.labs.budget.counting import parameter_count
from helpers.labs.budget.phases import EVALUATION, chunk_bytes, logits_bytes, moments

DEVICES = ("cpu", "cuda")
GIB = 2**30
T4_BYTES, A100_BYTES = int(14.75 * GIB), int(39.56 * GIB)  # of "16 GB" and "40 GB", what torch says is there
# What the libraries take for themselves in a first update, measured with a model of less than 1 MiB and torch's build
# for CPUs. None of the recorded settings had a part in it.
CPU_LIBRARIES = 89 * 2**20
# Assumed, not measured: what a driver's context takes, and the share that the caching allocator cannot use.
CUDA_CONTEXT, CUDA_FRAGMENTS = 512 * 2**20, 0.05


@dataclass(frozen=True)
class Memory(Run):
    """What one update holds. Parts in bytes; they do not all stand at the same moment, so that the peak is no sum.

    optimizer    "adamw" or "sgd"
    kept_tokens  tokens whose float32 logits an evaluation collects before it looks at them
    """

    optimizer: str
    kept_tokens: int

    @property
    def weights_bytes(self) -> int:
        return FLOAT32 * parameter_count(self.config)["total"]

    @property
    def moments_bytes(self) -> int:
        return MOMENTS[self.optimizer] * self.weights_bytes

    def activations_by_layer(self) -> dict[str, int]:
        """Layer -> bytes kept for the backward pass, in the order of the forward pass."""
        return {layer: sum(tensors.values()) for layer, tensors in kept_tensors(self).items()}

    @property
    def logits_bytes(self) -> int:
        """Logits and their gradient: one chunk that is used again and again, or three times (B, T, V), backward:
        log-probabilities, their gradient, and that of the logits."""
        return chunk_bytes(self) if self.chunked_loss else 3 * logits_bytes(self)

    @property
    def kept_logits_bytes(self) -> int:
        return FLOAT32 * self.kept_tokens * self.config.vocab_size

    def parts_by_phase(self) -> dict[str, dict[str, int]]:
        """Phase -> part -> bytes at the phase's widest moment. Gradients are those that are there by then, activations
        hold what passes through beside what is kept; the slack is the same throughout."""
        widest = {phase: max(found, key=sum) for phase, found in moments(self).items()}
        if self.kept_tokens:
            widest[EVALUATION] = (0, 0, 0, self.kept_logits_bytes)
        always = {"weights": self.weights_bytes, "optimizer's moments": self.moments_bytes}
        names = ("gradients", "low-precision copies of weights", "activations", "logits")
        return {phase: always | dict(zip(names, moment, strict=True)) for phase, moment in widest.items()}

    @cached_property
    def phases(self) -> dict[str, int]:
        """Phase -> bytes of tensors at its widest moment, the slack apart."""
        return {phase: sum(parts.values()) for phase, parts in self.parts_by_phase().items()}

    @property
    def phase(self) -> str:
        """The phase in which the peak stands."""
        return max(self.phases, key=self.phases.get)

    @property
    def tensors_bytes(self) -> int:
        """The peak without slack: what `torch.cuda.max_memory_allocated` counts."""
        return max(self.phases.values())

    @property
    def slack_bytes(self) -> int:
        """What the libraries, the driver and the allocator take beside the tensors.

        On a CPU that of torch's build for CPUs; a build with CUDA loads more (twice as much where it was tried).
        """
        return CPU_LIBRARIES if self.device == "cpu" else CUDA_CONTEXT + int(CUDA_FRAGMENTS * self.tensors_bytes)

    @property
    def peak_bytes(self) -> int:
        """The most that is held at once."""
        return self.tensors_bytes + self.slack_bytes

    def rows(self) -> list[tuple[str, int, float]]:
        """(part, bytes, share of the peak). Shares may add up to more than 1: not all parts are there at once."""
        parts = {
            "weights": self.weights_bytes,
            "gradients": self.weights_bytes,
            "optimizer's moments": self.moments_bytes,
            "low-precision copies of weights": copies_bytes(self),
            "activations": activations_bytes(self),
            "logits and their gradient": self.logits_bytes,
            "logits kept by evaluation": self.kept_logits_bytes,
            "slack": self.slack_bytes,
            f"peak ({self.phase})": self.peak_bytes,
        }
        return [(name, size, size / self.peak_bytes) for name, size in parts.items() if size]


def memory(
    config: GPTConfig,
    batch_size: int,
    context_length: int | None = None,
    *,
    precision: str = "float32",
    optimizer: str = "adamw",
    fused_attention: bool = True,
    gradient_checkpointing: bool = False,
    chunked_loss: bool = True,
    kept_logits_for_evaluation: int = 0,
    device: str = "cpu",
) -> Memory:
    """Predict what training holds at its widest, from the second update on, when the optimizer has its moments.

    batch_size       sequences that go through the model at once: the micro-batch where gradients are accumulated
    context_length   T, tokens in a sequence (None: the config's)
    precision        of the matmuls: "float32", "bfloat16" or "float16"
    optimizer        "adamw" or "sgd" (without momentum)
    fused_attention  False: one product after the other, whose (B, H, T, T) results are kept
    gradient_checkpointing  of each block only its input is kept, the rest is made again: `GPT.gradient_checkpointing`
    chunked_loss     `loss.loss_from_hidden`; False: all logits at once and `loss.next_token_loss`
    kept_logits_for_evaluation  tokens whose logits an evaluation collects before it looks at them
    device           "cpu" or "cuda"; the second has not been compared with a GPU

    return  Memory. On a CPU its peak is that of the resident set above the imports, freed memory being given back

    ValueError: a name that is not one of these, a size below 1, or a context longer than the config's.
    Source: Rajbhandari et al. 2020 (ZeRO), section 3, for the parts; Korthikanti et al. 2023, section 4, for layers.
    """
    T = config.context_length if context_length is None else context_length
    if batch_size < 1 or not 1 <= T <= config.context_length or kept_logits_for_evaluation < 0:
        raise ValueError(
            f"expected batch_size >= 1, context_length in [1, {config.context_length}] and kept_logits_for_evaluation "
            f">= 0, got {batch_size}, {T} and {kept_logits_for_evaluation}"
        )
    choices = (("precision", precision, ELEMENT_BYTES), ("optimizer", optimizer, MOMENTS), ("device", device, DEVICES))
    for name, value, known in choices:
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    switches = (fused_attention, gradient_checkpointing, chunked_loss, device)
    return Memory(config, batch_size, T, precision, *switches, optimizer, kept_logits_for_evaluation)
