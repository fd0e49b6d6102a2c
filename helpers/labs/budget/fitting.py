"""Before a machine is switched on: does it fit, what would make it fit, and what will it take?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from helpers.gpt import require_number
from helpers.labs.budget.counting import SECONDS_PER_HOUR, Cost, readable_bytes, readable_count, readable_time
from helpers.labs.budget.peak import Memory
from helpers.language import t


@dataclass(frozen=True)
class Change:
    """One change to a run, made alone: what to do, what it costs, and the peak afterwards."""

    what: str
    price: str
    peak_bytes: int


@dataclass(frozen=True)
class Fit:
    """Whether a run fits, and if not, what to change, the cheapest first."""

    peak_bytes: int
    available_bytes: int
    changes: tuple[Change, ...] = ()  # each made alone
    together: tuple[str, ...] = ()  # one after the other until it fits; empty where it does, or not even with all

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= self.available_bytes

    def __str__(self) -> str:
        size, room = readable_bytes(self.peak_bytes), readable_bytes(self.available_bytes)
        if self.fits:
            return t("fits: {size} of {room}", size=size, room=room)
        alone = "; ".join(f"{c.what}: {readable_bytes(c.peak_bytes)} ({c.price})" for c in self.changes)
        all_of_them = t(", then ").join(self.together)
        enough = t("Enough: {what}", what=all_of_them) if self.together else t("Not enough even together")
        said = t(
            "does not fit: {size} of {room}. Alone, the cheapest first: {alone}", size=size, room=room, alone=alone
        )
        return f"{said}. {enough}"


def fits(memory: Memory, available_bytes: int) -> Fit:
    """Compare a predicted peak with what the machine has, and try the changes that make it smaller.

    ValueError: available_bytes below 1.
    """
    require_number(available_bytes=available_bytes)
    if memory.peak_bytes <= available_bytes:
        return Fit(memory.peak_bytes, available_bytes)
    alone = (Change(t(what), t(price), change(memory, available_bytes).peak_bytes) for what, price, change in SAVINGS)
    smaller = tuple(change for change in alone if change.peak_bytes < memory.peak_bytes)
    return Fit(memory.peak_bytes, available_bytes, smaller, _enough(memory, available_bytes))


def plan(memory: Memory, available_bytes: int, cost: Cost, currency: str = "") -> str:
    """What is about to happen, in words: fits or not, how long, how much money and energy."""
    fit = fits(memory, available_bytes)
    money = f"{currency} {cost.money:,.2f}".strip()
    energy = "" if cost.kwh is None else f", {cost.kwh:.3g} kWh"
    begin = str(fit)[0].upper() + str(fit)[1:]
    time = readable_time(cost.hours * SECONDS_PER_HOUR)
    return f"{begin}. {t('{n} tokens', n=readable_count(cost.n_tokens))}: {time}, {money}{energy}."


def _enough(memory: Memory, available_bytes: int) -> tuple[str, ...]:
    made, n_before = [], -1
    while len(made) > n_before:  # again: what makes one phase smaller may show once another is no longer the widest
        n_before = len(made)
        for what, _, change in SAVINGS:
            changed = change(memory, available_bytes)
            if changed.peak_bytes < memory.peak_bytes:
                memory = changed
                made.append(t(what))
            if memory.peak_bytes <= available_bytes:
                return tuple(made)
    return ()


def _with(**changes: object) -> Callable[[Memory, int], Memory]:
    return lambda memory, available_bytes: replace(memory, **changes)


def _accumulate(memory: Memory, available_bytes: int) -> Memory:
    """Halve the sequences that go through at once until it fits, or one is left."""
    while memory.peak_bytes > available_bytes and memory.batch_size > 1:
        memory = replace(memory, batch_size=memory.batch_size // 2)
    return memory


SAVINGS = (  # what, price, (memory, available_bytes) -> memory; the cheapest first
    ("keep no logits in evaluation", "costs nothing", _with(kept_logits_for_evaluation=0)),
    ("chunked loss", "costs nothing", _with(chunked_loss=True)),
    ("fused attention", "faster", _with(fused_attention=True)),
    ("accumulation over micro-batches", "same update, a little slower", _accumulate),
    ("half precision", "rounds, faster on a GPU", _with(precision="bfloat16")),
    ("gradient checkpointing", "a third more arithmetic", _with(gradient_checkpointing=True)),
)
