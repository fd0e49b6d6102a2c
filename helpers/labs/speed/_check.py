"""Whether a rung computes what the first one does: the losses and gradients of the same first updates."""

from __future__ import annotations

from collections.abc import Sequence

# By precision of the products: how far a loss, and a length of the gradient or of its part for queries and keys or for
# values, may be from the first rung's, as a share. A loss is a mean over many tokens, whose roundings cancel; a missing
# mask moves the parts by a fifth and more, a missing scale doubles one.
TOLERANCES = {
    "float32": (1e-5, 1e-3),
    "tf32": (5e-4, 1e-2),
    "float16": (5e-4, 1e-2),
    "bfloat16": (1e-3, 3e-2),
}


def compare(found: dict, first: dict) -> tuple[bool, str]:
    """(whether they agree, the same in words) of two workers' reports, each with precision, losses and grad_norms."""
    allowed = [max(pair) for pair in zip(*(TOLERANCES[report["precision"]] for report in (found, first)), strict=True)]
    off = [_farthest(found[key], first[key]) for key in ("losses", "grad_norms")]
    words = f"losses to {off[0]:.0e}, gradients to {off[1]:.0e}"
    if all(o <= limit for o, limit in zip(off, allowed, strict=True)):  # not where a loss is no number
        return True, words
    return False, f"DIFFERS: {words}; allowed {allowed[0]:.0e} and {allowed[1]:.0e}"


def _farthest(values: Sequence[float], expected: Sequence[float]) -> float:
    """The largest deviation as a share; infinite where one is not a number or the numbers of values differ."""
    if len(values) != len(expected):
        return float("inf")
    shares = [abs(value / right - 1) if right else abs(value) for value, right in zip(values, expected, strict=True)]
    return max((share if share == share else float("inf") for share in shares), default=float("inf"))
