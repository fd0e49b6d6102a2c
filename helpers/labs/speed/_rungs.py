"""The rungs in their order: what each changes, and what a process is told that stands on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Switches:
    """How an update is made. The defaults are the ladder's foot: a model as a book writes it.

    tf32               float32 products on a card in TF32
    half               products in bfloat16 where the chip has it, in float16 with a gradient scaler on an older card
    fused_attention    one kernel instead of products that keep a (B, H, T, T) result each
    fused_optimizer    AdamW in one pass instead of parameter by parameter
    chunked_loss       the scores of a part of the tokens at a time instead of all logits at once
    compiled           the blocks through torch.compile
    padded_vocabulary  as many scores as the next multiple of 64, the padding masked out
    larger_batch       more rows in a batch
    """

    tf32: bool = False
    half: bool = False
    fused_attention: bool = False
    fused_optimizer: bool = False
    chunked_loss: bool = False
    compiled: bool = False
    padded_vocabulary: bool = False
    larger_batch: bool = False


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    name     as on the command line
    change   the field of Switches that it turns on; None for the foot
    says     what it is, in a line
    devices  where it means something
    """

    name: str
    change: str | None
    says: str
    devices: tuple[str, ...] = DEVICES

    def on(self, switches: Switches) -> Switches:
        """`switches` with this rung's change."""
        return replace(switches, **{self.change: True}) if self.change else switches


RUNGS: dict[str, Rung] = {
    rung.name: rung
    for rung in (
        Rung("float32", None, "all logits at once, attention step by step, AdamW parameter by parameter"),
        Rung("tf32", "tf32", "float32 products in TF32 on tensor cores", ("cuda",)),
        Rung("half", "half", "products in bfloat16, or float16 with a gradient scaler"),
        Rung("fused-attention", "fused_attention", "attention in one kernel"),
        Rung("fused-adamw", "fused_optimizer", "AdamW in one pass over memory"),
        Rung("chunked-loss", "chunked_loss", "the logits of a part of the tokens at a time"),
        Rung("compile", "compiled", "the blocks through torch.compile"),
        Rung("padded-vocabulary", "padded_vocabulary", "scores for a multiple of 64 ids"),
        Rung("larger-batch", "larger_batch", "more rows in a batch"),
    )
}


def names_for(device: str) -> tuple[str, ...]:
    """The names of the rungs that mean something on "cpu" or "cuda", from the foot upwards."""
    return tuple(name for name, rung in RUNGS.items() if device in rung.devices)


def in_order(names: Iterable[str] | None, device: str) -> tuple[str, ...]:
    """The chosen rungs in the ladder's order; None: all that the device has.

    ValueError: an unknown name, or no name.
    """
    if names is None:
        return names_for(device)
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in RUNGS]
    if unknown or not names:
        got = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"rungs are {', '.join(RUNGS)}; got {got}")
    return tuple(name for name in RUNGS if name in names)
