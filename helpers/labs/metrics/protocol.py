"""A perplexity with how it was measured: what a report must say before its number can stand beside another."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral

from helpers.gpt import bits_per_byte, perplexity, require_kind, require_number, require_one_of, require_whole
from helpers.language import t

PADDINGS = ("none", "not scored", "scored")
MEANS = ("tokens", "rows", "batches", "documents")
NOT_STATED = "not stated"
_MAY_DIFFER = {"checkpoint"}  # what is compared
_NAMES = {
    "data": "data",
    "split": "split",
    "padding": "padding",
    "tokenizer": "tokenizer",
    "checkpoint": "checkpoint",
    "precision": "precision",
    "context_length": "context, tokens",
    "stride": "stride, tokens",
    "n_tokens": "tokens scored",
    "n_bytes": "bytes of text",
    "mean": "mean over",
}
_MARKDOWN = re.compile(r"[\\`*\[\]<&|$~]|(?<!\w)_+|_+(?!\w)")  # what Markdown, HTML or TeX would take for their own


@dataclass(frozen=True)
class Protocol:
    """How a mean loss was measured. None stands for what a report does not state.

    ValueError: a number below 1, or a padding or mean of another name.
    Source: Jurafsky & Martin, Speech and Language Processing, ch. 3; Gao et al. 2020 (The Pile), section 3.1.
    """

    data: str | None  # the text and its version
    split: str | None  # which part was scored: "validation", "test", "train", ...
    context_length: int | None  # the most tokens that a prediction sees
    stride: int | None  # from the start of a window to the start of the next
    n_tokens: int | None  # targets that were scored
    n_bytes: int | None  # UTF-8 bytes of the text that those targets spell
    padding: str | None  # "none", "not scored" or "scored"
    mean: str | None  # over "tokens" (each counted once), "rows", "batches" or "documents" (a macro-average)
    tokenizer: str | None
    checkpoint: str | None  # which weights: "best of 5 evaluations", "step 2000", ...
    precision: str | None = "float32"  # of the matmuls

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("context_length", "stride", "n_tokens", "n_bytes")}
        require_whole(**{name: value for name, value in sizes.items() if value is not None})
        require_one_of((*PADDINGS, None), padding=self.padding)
        require_one_of((*MEANS, None), mean=self.mean)


@dataclass(frozen=True)
class Result:
    """A mean loss in nats per token, and the protocol without which it says little. A notebook shows it as its card.

    ValueError: a loss below 0, infinite or NaN.
    """

    loss_nats: float
    protocol: Protocol

    def __post_init__(self) -> None:
        require_number(positive=False, loss_nats=self.loss_nats)

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)

    @property
    def bits_per_byte(self) -> float | None:
        """The loss per byte of text, None where tokens or bytes are not stated; see `cautions` for what it is worth."""
        n_tokens, n_bytes = self.protocol.n_tokens, self.protocol.n_bytes
        return None if n_tokens is None or n_bytes is None else bits_per_byte(self.loss_nats, n_tokens, n_bytes)

    @property
    def cautions(self) -> list[str]:
        """What in the protocol keeps the number from being the model's loss on unseen text, a sentence each."""
        protocol, found = self.protocol, []
        if protocol.padding == "scored":
            found.append(t("padding is scored: its targets are easy, and lower the loss the more of them there are"))
        if protocol.mean not in ("tokens", None):
            found.append(t("a macro-average over {what}: tokens do not count alike", what=t(protocol.mean)))
        if protocol.split is not None and protocol.split.lower().startswith("train"):
            found.append(t("text that was trained on: it says how much was memorised"))
        if (protocol.stride or 0) > (protocol.context_length or math.inf):
            found.append(t("the stride exceeds the context: some of the text is not scored"))
        return found

    def card(self) -> str:
        """The number and its protocol as a Markdown table, to be pasted into a report."""
        bits = self.bits_per_byte
        rows = [
            (t("perplexity"), f"{self.perplexity:,.2f}"),
            (t("loss, nats per token"), f"{self.loss_nats:.4f}"),
            (t("bits per byte"), t(NOT_STATED) if bits is None else f"{bits:.4f}"),
        ]
        for field in fields(self.protocol):
            rows.append((t(_NAMES[field.name]), t(_shown(getattr(self.protocol, field.name)))))
        rows += [(t("caution"), says) for says in self.cautions]
        return markdown_table((t("of the number"), t("value")), rows)

    _repr_markdown_ = card


def compare(a: Result, b: Result) -> float:
    """Perplexity of `a` over that of `b`: above 1, `a` is the worse one. Refused unless both were measured alike.

    ValueError: protocols that differ, or do not state the same, in anything but the checkpoint; all such are named.
    """
    require_kind(Result, a=a, b=b)
    differing = []
    for field in fields(Protocol):
        left, right = getattr(a.protocol, field.name), getattr(b.protocol, field.name)
        if field.name not in _MAY_DIFFER and (left != right or left is None):
            differing.append(f"{field.name} ({_shown(left)} and {_shown(right)})")
    if differing:
        raise ValueError(
            f"the two perplexities were not measured alike: {', '.join(differing)}. Measure both in one way; where "
            "nothing but the tokenizer and its tokens differ, compare bits_per_byte"
        )
    gap = a.loss_nats - b.loss_nats
    return perplexity(gap) if gap > 0 else math.exp(gap)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table in which every character stands for itself."""
    lines = [columns, ["---"] * len(columns), *([markdown_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it is, `</s>` and `$1 to $2` too."""
    return _MARKDOWN.sub(lambda found: "".join(f"\\{mark}" for mark in found[0]), " ".join(text.split()))


def _shown(value: object) -> str:
    if value is None:
        return NOT_STATED
    return f"{value:,}" if isinstance(value, Integral) else str(value)
