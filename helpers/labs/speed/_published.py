"""The published ladder of one A100: a book's training script of GPT-2's size, sped up change by change."""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_MACHINE = "A100 (published)"
PUBLISHED_SOURCE = (
    "S. Raschka, LLMs-from-scratch, ch05/10_llm-training-speed/README.md, "
    "https://github.com/rasbt/LLMs-from-scratch (PyTorch 2.6; context 1,024)"
)


@dataclass(frozen=True)
class PublishedRung:
    """A row of the published ladder; each change was kept for the rows after it.

    says          the change
    tokens_per_s  as published
    reserved_gb   memory that torch's allocator had reserved, in the source's GB; more than the tensors' peak
    rung          the course's rung with the same change; None where it has none
    """

    says: str
    tokens_per_s: float
    reserved_gb: float
    rung: str | None = None


PUBLISHED = (
    PublishedRung("float32, as in the book", 12_525, 26.2617, "float32"),
    PublishedRung("causal mask made on the fly", 12_526, 26.2422),
    PublishedRung("TF32 on tensor cores", 27_648, 26.2422, "tf32"),
    PublishedRung("fused AdamW", 28_399, 26.2422, "fused-adamw"),
    PublishedRung("pinned memory for batches", 28_402, 26.2422),
    PublishedRung("bfloat16", 45_486, 13.7871, "half"),
    PublishedRung("torch's LayerNorm and GELU", 55_256, 11.5645),
    PublishedRung("fused attention", 91_901, 5.9004, "fused-attention"),
    PublishedRung("torch.compile", 112_046, 6.1875, "compile"),
    PublishedRung("vocabulary padded to 50,304", 127_345, 5.8906, "padded-vocabulary"),
    PublishedRung("larger batch", 142_156, 22.5078, "larger-batch"),
)
