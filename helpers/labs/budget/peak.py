"""The memory that training a GPT takes, predicted from its config: parts, phases, and the peak over the phases."""

from functools import cached_property

from helpers.gpt import CHUNK_TOKENS
from helpers.labs.budget.activations import Run, activations_bytes, block_tensors, copies_bytes, kept_tensors
from helpers.labs.budget.counting import FF_MATRICES, FLOAT32, MOMENTS, parameter_count
from helpers.language import t

GIB = 2**30
T4_BYTES, A100_BYTES = int(14.75 * GIB), int(39.56 * GIB)  # of "16 GB" and "40 GB", what torch says is there
# What the libraries take for themselves in a first update, measured with a model of less than 1 MiB and torch's build
# for CPUs. None of the recorded settings had a part in it.
CPU_LIBRARIES = 89 * 2**20
# Assumed, not measured: what a driver's context takes, and the share that the caching allocator cannot use.
CUDA_CONTEXT, CUDA_FRAGMENTS = 512 * 2**20, 0.05
FORWARD, BACKWARD, STEP, EVALUATION = "forward", "backward", "optimizer step", "evaluation"

Moment = tuple[int, int, int, int]
"""What is held at one moment beside weights and the optimizer's moments, in bytes: gradients; matrices in half
precision; activations, those that are kept and results that pass through; logits, and what the loss makes of them."""


class Memory(Run):
    """What training is predicted to hold at its widest, from the second update on, when the optimizer has its moments.

    batch_size       sequences that go through the model at once: the micro-batch where gradients are accumulated
    context_length   T, tokens in a sequence (None: the config's)
    precision        of the matmuls: "float32", "bfloat16" or "float16"
    optimizer        "adamw" or "sgd" (without momentum)
    fused_attention  False: one product after the other, whose (B, H, T, T) results are kept
    gradient_checkpointing  of each block only its input is kept, the rest is made again: `GPT.gradient_checkpointing`
    chunked_loss     `loss.loss_from_hidden`; False: all logits at once and `loss.next_token_loss`
    kept_logits_for_evaluation  tokens whose float32 logits an evaluation collects before it looks at them
    device           "cpu", where the peak is that of the resident set above the imports, freed memory being given back,
                     or "cuda", which has not been compared with a GPU

    Parts in bytes; they do not all stand at the same moment, so that the peak is no sum.
    ValueError: a name that is not one of these, a size below 1, or a context longer than the config's.
    Source: Rajbhandari et al. 2020 (ZeRO), section 3, for the parts; Korthikanti et al. 2023, section 4, for layers.
    """

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
        return _chunk_bytes(self) if self.chunked_loss else 3 * _logits_bytes(self)

    @property
    def kept_logits_bytes(self) -> int:
        return FLOAT32 * self.kept_logits_for_evaluation * self.config.vocab_size

    def parts_by_phase(self) -> dict[str, dict[str, int]]:
        """Phase -> part -> bytes at the phase's widest moment. Gradients are those that are there by then, activations
        hold what passes through beside what is kept; the overhead is the same throughout."""
        step = (FLOAT32 * parameter_count(self.config)["total"], 0, 0, 0)
        widest = {FORWARD: _forward(self), BACKWARD: max(_backward(self), key=sum), STEP: step}
        if self.kept_logits_for_evaluation:
            widest[EVALUATION] = (0, 0, 0, self.kept_logits_bytes)
        always = {"weights": self.weights_bytes, "optimizer's moments": self.moments_bytes}
        names = ("gradients", "low-precision copies of weights", "activations", "logits")
        return {phase: always | dict(zip(names, moment, strict=True)) for phase, moment in widest.items()}

    @cached_property
    def phases(self) -> dict[str, int]:
        """Phase -> bytes of tensors at its widest moment, the overhead apart."""
        return {phase: sum(parts.values()) for phase, parts in self.parts_by_phase().items()}

    @property
    def phase(self) -> str:
        """The phase in which the peak stands."""
        return max(self.phases, key=self.phases.get)

    @property
    def tensors_bytes(self) -> int:
        """The peak without overhead: what `torch.cuda.max_memory_allocated` counts."""
        return max(self.phases.values())

    @property
    def overhead_bytes(self) -> int:
        """What the libraries, the driver and the allocator take beside the tensors; on a CPU in torch's CPU build."""
        return CPU_LIBRARIES if self.device == "cpu" else CUDA_CONTEXT + int(CUDA_FRAGMENTS * self.tensors_bytes)

    @property
    def peak_bytes(self) -> int:
        """The most that is held at once."""
        return self.tensors_bytes + self.overhead_bytes

    def rows(self) -> list[tuple[str, int, float]]:
        """(part, bytes, share of the peak). Shares may add up to more than 1: not all parts are there at once."""
        parts = {
            t("weights"): self.weights_bytes,
            t("gradients"): self.weights_bytes,
            t("optimizer's moments"): self.moments_bytes,
            t("low-precision copies of weights"): copies_bytes(self),
            t("activations"): activations_bytes(self),
            t("logits and their gradient"): self.logits_bytes,
            t("logits kept by evaluation"): self.kept_logits_bytes,
            t("overhead"): self.overhead_bytes,
            t("peak ({phase})", phase=t(self.phase)): self.peak_bytes,
        }
        return [(name, size, size / self.peak_bytes) for name, size in parts.items() if size]


memory = Memory  # what is called is named as what it predicts


def _chunk_bytes(run: Run) -> int:
    """The logits of one chunk of positions; in half precision a GPU has them in float32 beside it."""
    scores = min(CHUNK_TOKENS, run.n_tokens) * run.config.vocab_size
    beside = 0 if run.device == "cpu" or run.precision == "float32" else FLOAT32
    return scores * (run.element + beside)


def _logits_bytes(run: Run) -> int:
    """(B, T, V) numbers in float32."""
    return FLOAT32 * run.n_tokens * run.config.vocab_size


def _forward(run: Run) -> Moment:
    kept, copies = activations_bytes(run), copies_bytes(run)
    if run.chunked_loss:  # hidden states and their gradient, the head's gradient, a chunk; copies in half precision
        if run.precision != "float32":
            kept += run.element * run.stream_bytes // FLOAT32
            copies += run.element * run.table_bytes // FLOAT32
        return run.table_bytes, copies, kept + 2 * run.stream_bytes, _chunk_bytes(run)
    logits = _logits_bytes(run)
    scores = 0 if run.precision == "float32" else logits * run.element // FLOAT32  # before they become float32
    return 0, copies, kept, 2 * logits + scores


def _backward(run: Run) -> list[Moment]:
    """The loss, each block from the last to the first, the embedding.

    From block to block the sum changes by the same amount, so that the widest of them is the first or the last.
    """
    L, kept = run.config.n_layers, activations_bytes(run)
    copies = copies_bytes(run, 1 if run.gradient_checkpointing else None)
    one_block = sum(block_tensors(run).values())
    kept_block, again = (run.stream_bytes, one_block) if run.gradient_checkpointing else (one_block, 0)
    block_gradients = FLOAT32 * sum(parameter_count(run.config)[part] // L for part in ("attention", "feed_forward"))
    found = []
    if not run.chunked_loss:  # the log-probabilities are kept; their gradient, and that of the logits
        found.append((0, copies, kept, 3 * _logits_bytes(run)))
        kept += run.element * run.n_tokens * run.config.emb_dim
    kept += run.stream_bytes
    for n_done in (0, L - 1):
        gradients = run.table_bytes + (n_done + 1) * block_gradients
        left = kept - n_done * kept_block + again
        found += [(gradients, copies, left + passing, 0) for passing in _passing(run)]
    gradients = 2 * run.table_bytes + L * block_gradients  # head and embedding: one on top of the other where tied
    return [*found, (gradients, copies, kept - L * kept_block, 0)]


def _passing(run: Run) -> list[int]:
    """Results that pass through a block in the backward pass, where they can be largest: in the feed-forward layer and,
    where attention is not fused, at its squares."""
    wide = run.element * run.n_tokens * run.config.hidden_ff_dim
    gradients = FF_MATRICES[run.config.feed_forward] - 1  # of what the layer computes before it projects back
    inner = gradients * wide + 2 * run.stream_bytes
    if run.is_fused:
        return [inner]
    square = FLOAT32 * run.batch_size * run.config.n_heads * run.T**2
    return [inner, 2 * square - 2 * wide]
