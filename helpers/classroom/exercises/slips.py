"""Known slips: if an answer is what a certain mistake gives, say which thought leads on."""

from __future__ import annotations

import math
from collections.abc import Mapping

CLOSE = 1e-6


def thought(got: float, slips: Mapping[str, float], otherwise: str) -> str:
    """The first thought whose slip gives `got`, or else the general one.

    slips      what to think of next -> the number that this mistake gives in the case at hand
    otherwise  where the number is that of no known slip
    """
    return next((says for says, number in slips.items() if math.isclose(got, number, rel_tol=CLOSE)), otherwise)
