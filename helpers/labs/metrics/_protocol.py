"""A perplexity with how it was measured: what a report must say before its number can stand beside another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

from helpers.gpt import bits_per_byte, perplexity

PADDINGS = ("none", "not scored", "scored")
MEANS = ("tokens", "rows", "batches", "documents")
NOT_STATED = "not stated"
_MAY_DIFFER = {"checkpoint"}  # what is compared
_NAMES = {
    "context_length": "context, tokens",
    "stride": "stride, tokens",
    "n_tokens": "tokens scored",
    "n_bytes": "bytes of text",
    "mean": "mean over",
}


@dataclass(frozen=True)
class Protocol:
    """How a mean loss was measured. None stands for what a report does not state.

    data            the text and its version
    split           which part was scored: "validation", "test", "train", ...
    context_length  the most tokens that a prediction sees
    stride          from the start of a window to the start of the next
    n_tokens        targets that were scored
    n_bytes         UTF-8 bytes of the text that those targets spell
    padding         "none", "not scored" or "scored"
    mean            over what: "tokens" (each counted once), "rows", "batches" or "documents" (a mean of their means)
    tokenizer       its name
    checkpoint      which weights: "best of 5 evaluations", "step 2000", ...
    precision       of the matrix products

    ValueError: a number below 1, or a padding or mean of another name.
    Source: Jurafsky & Martin, Speech and Language Processing, ch. 3; Gao et al. 2020 (The Pile), section 3.1.
    """

    data: str | None
    split: str | None
    context_length: int | None
    stride: int | None
    n_tokens: int | None
    n_bytes: int | None
    padding: str | None
    mean: str | None
    tokenizer: str | None
    checkpoint: str | None
    precision: str | None = "float32"

    def __post_init__(self) -> None:
        for name in ("context_length", "stride", "n_tokens", "n_bytes"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, or None: {NOT_STATED}; got {value!r}")
        for name, known in (("padding", PADDINGS), ("mean", MEANS)):
            if getattr(self, name) not in (*known, None):
                raise ValueError(f"{name} must be one of {', '.join(known)}, or None; got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Result:
    """A mean loss in nats per token, and the protocol without which it says little. A notebook shows it as its card.

    ValueError: a loss below 0, infinite or not a number.
    """

    loss_nats: float
    protocol: Protocol

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss_nats) or self.loss_nats < 0:
            raise ValueError(f"loss_nats must be a finite number of at least 0, got {self.loss_nats}")

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss_nats)

    @property
    def bits_per_byte(self) -> float | None:
        """The loss per byte of text, which tokenizers do not change; None where tokens or bytes are not stated.

        It is that of the text only where the mean is over tokens and no padding is scored; otherwise it is what such
        a report would state (`cautions` says so).
        """
        n_tokens, n_bytes = self.protocol.n_tokens, self.protocol.n_bytes
        return None if n_tokens is None or n_bytes is None else bits_per_byte(self.loss_nats, n_tokens, n_bytes)

    @property
    def cautions(self) -> list[str]:
        """What in the protocol keeps the number from being the model's loss on unseen text, a sentence each."""
        return list(_cautions(self.protocol))

    def card(self) -> str:
        """The number and its protocol as a Markdown table, to be pasted into a report."""
        rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in self._rows()]
        return "\n".join(["| of the number | value |", "|---|---|", *rows])

    def _repr_html_(self) -> str:
        from helpers.classroom import pages  # TODO: a room above

        return pages.table(self._rows(), ["of the number", "value"])._repr_html_()

    def _rows(self) -> list[tuple[str, str]]:
        bits = self.bits_per_byte
        rows = [
            ("perplexity", f"{self.perplexity:,.2f}"),
            ("loss, nats per token", f"{self.loss_nats:.4f}"),
            ("bits per byte", NOT_STATED if bits is None else f"{bits:.4f}"),
        ]
        for field in fields(self.protocol):
            name = _NAMES.get(field.name, field.name)
            rows.append((name, _shown(getattr(self.protocol, field.name))))
        return rows + [("caution", sentence) for sentence in self.cautions]


def compare(a: Result, b: Result) -> float:
    """Perplexity of `a` over that of `b`: above 1, `a` is the worse one. Refused unless both were measured alike.

    ValueError: protocols that differ, or do not state the same, in anything but the checkpoint; all such are named.
    """
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
    return math.exp(a.loss_nats - b.loss_nats)


def _cautions(protocol: Protocol) -> Iterator[str]:
    if protocol.padding == "scored":
        yield "padding is scored: its targets are easy, and lower the loss the more of them there are"
    if protocol.mean not in ("tokens", None):
        yield f"a mean of the means of {protocol.mean}: tokens do not count alike"
    if protocol.split is not None and protocol.split.lower().startswith("train"):
        yield "text that was trained on: it says how much was learnt by heart"
    if (protocol.stride or 0) > (protocol.context_length or math.inf):
        yield "the stride exceeds the context: some of the text is not scored"


def _shown(value: object) -> str:
    if value is None:
        return NOT_STATED
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(text: str) -> str:
    """One line that does not end its cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
