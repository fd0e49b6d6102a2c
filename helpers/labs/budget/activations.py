"""What a GPT's forward pass keeps for the backward pass, tensor by tensor, from the config alone."""

from dataclasses import KW_ONLY, dataclass

from helpers.gpt import GPTConfig, require_kind, require_one_of, require_whole, store_plain
from helpers.labs.budget.counting import FLOAT32, MOMENTS, block_matrices

DEVICES = ("cpu", "cuda")
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ID_BYTES = 8  # int64
LOG_PROBS = "log-probabilities"

Tensors = dict[str, int]  # name -> bytes


@dataclass(frozen=True)
class Run:
    """One update of a GPT; fields and errors as `Memory` has them."""

    config: GPTConfig
    batch_size: int
    context_length: int | None = None
    _: KW_ONLY
    precision: str = "float32"
    optimizer: str = "adamw"
    fused_attention: bool = True
    gradient_checkpointing: bool = False
    chunked_loss: bool = True
    kept_logits_for_evaluation: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_kind(GPTConfig, config=self.config)
        if self.T not in range(1, self.config.context_length + 1):
            raise ValueError(f"context_length must be in [1, {self.config.context_length}], got {self.T!r}")
        require_whole(batch_size=self.batch_size)
        require_whole(at_least=0, kept_logits_for_evaluation=self.kept_logits_for_evaluation)
        require_one_of(ELEMENT_BYTES, precision=self.precision)
        require_one_of(MOMENTS, optimizer=self.optimizer)
        require_one_of(DEVICES, device=self.device)
        store_plain(self, int, "batch_size", "context_length", "kept_logits_for_evaluation")

    @property
    def T(self) -> int:
        """Tokens in a sequence."""
        return self.config.context_length if self.context_length is None else self.context_length

    @property
    def element(self) -> int:
        """Bytes of a number that a matmul makes."""
        return ELEMENT_BYTES[self.precision]

    @property
    def is_fused(self) -> bool:
        """Whether attention really is one kernel: on a CPU torch has none with dropout, and goes step by step."""
        return self.fused_attention and not (self.device == "cpu" and self.config.drop_rate)

    @property
    def n_tokens(self) -> int:
        return self.batch_size * self.T

    @property
    def stream_bytes(self) -> int:
        """A (B, T, C) tensor of the residual stream, which is float32 in every precision."""
        return FLOAT32 * self.n_tokens * self.config.emb_dim

    @property
    def table_bytes(self) -> int:
        """A (V, C) matrix in float32."""
        return FLOAT32 * self.config.vocab_size * self.config.emb_dim


def kept_tensors(run: Run) -> dict[str, Tensors]:
    """Layer -> what is kept of it until the backward pass, parameters and their low-precision copies apart."""
    block = {"input": run.stream_bytes} if run.gradient_checkpointing else block_tensors(run)
    # the ids of positions, or the cosine and the sine of each pair's angle, once for all blocks
    per_position = ID_BYTES if run.config.positions == "learned" else FLOAT32 * run.config.head_dim
    layers = {
        "embedding": {"token ids": ID_BYTES * run.n_tokens, "positions": run.T * per_position}
        | _mask(run, "dropout mask", FLOAT32),
        **{f"block {i}": block for i in range(run.config.n_layers)},
        "final norm": _norm(run, "final norm"),
    }
    if not run.chunked_loss:
        hidden = run.element * run.n_tokens * run.config.emb_dim  # (B T, C)
        layers["loss"] = {"hidden states": hidden, LOG_PROBS: FLOAT32 * run.n_tokens * run.config.vocab_size}
    return layers


def activations_bytes(run: Run) -> int:
    """Of all layers together, the logits apart."""
    layers = kept_tensors(run).values()
    return sum(n_bytes for tensors in layers for name, n_bytes in tensors.items() if name != LOG_PROBS)


def block_tensors(run: Run) -> Tensors:
    """What one block keeps, in the order in which it is made."""
    narrow = run.element * run.n_tokens * run.config.emb_dim  # (B, T, C)
    wide = run.element * run.n_tokens * run.config.hidden_ff_dim  # (B, T, F)
    gated = run.config.feed_forward == "swiglu"
    before = {} if run.config.activation == "relu" and not gated else {"expanded": wide}  # ReLU needs its result only
    if gated:  # two matrices read the norm's output, each its own copy where it is cast
        before |= {"gate": wide, "gate's SiLU": wide, "cast for the gate": narrow if run.element < FLOAT32 else 0}
    return {
        **_norm(run, "norm 1"),
        "norm 1's output": narrow,
        **_attention(run),
        "heads joined": narrow,
        **_mask(run, "attention's dropout mask", run.element),
        **_norm(run, "norm 2"),
        "norm 2's output": narrow,
        **before,
        "activated": wide,
        **_mask(run, "feed-forward's dropout mask", run.element),
    }


def copies_bytes(run: Run, n_blocks: int | None = None) -> int:
    """Low-precision copies of the matrices of so many blocks (None: all) and of the head.

    Autocast's cache keeps them all until the forward pass ends, and the matmuls keep theirs for the backward pass; with
    checkpointing a block's are made again when its turn comes.
    """
    if run.precision == "float32":
        return 0
    head = 0 if run.chunked_loss else run.config.vocab_size * run.config.emb_dim
    n_blocks = run.config.n_layers if n_blocks is None else n_blocks
    return run.element * (n_blocks * block_matrices(run.config) + head)


def _attention(run: Run) -> Tensors:
    """Fused: queries, keys, values and a number per query; rotated queries and keys are copies. Step by step torch
    computes in float32, with keys and values for each head of queries, and keeps squares."""
    C, per_query = run.config.emb_dim, run.n_tokens * run.config.n_heads  # (B, H, T)
    if run.is_fused:
        numbers = run.config.qkv_dim
        if run.config.positions == "rotary":
            numbers += C + run.config.kv_heads * run.config.head_dim
        kept = run.element * run.n_tokens * numbers
        return {"queries, keys, values": kept, "log-sum-exp of the scores": FLOAT32 * per_query}
    square = per_query * run.T  # (B, H, T, T)
    parts = {"queries, keys, values": FLOAT32 * run.n_tokens * 3 * C, "attention weights": FLOAT32 * square}
    if run.config.drop_rate:
        mask = square * (FLOAT32 if run.device == "cpu" else 1)
        parts |= {"mask of weights": mask, "weights, some dropped": FLOAT32 * square}
    return parts


def _norm(run: Run, name: str) -> Tensors:
    """Its float32 input (B, T, C), and (2, B, T) numbers; of an RMS norm (B, T), and what it divided, (B, T, C)."""
    if run.config.norm == "rmsnorm":
        return {f"{name}'s input and result": 2 * run.stream_bytes, f"{name}'s scale": FLOAT32 * run.n_tokens}
    return {f"{name}'s input": run.stream_bytes, f"{name}'s mean and scale": 2 * FLOAT32 * run.n_tokens}


def _mask(run: Run, name: str, element: int) -> Tensors:
    """What dropout keeps: a byte a number on a GPU; on a CPU numbers as wide as those it drops."""
    if not run.config.drop_rate:
        return {}
    return {name: run.n_tokens * run.config.emb_dim * (element if run.device == "cpu" else 1)}
