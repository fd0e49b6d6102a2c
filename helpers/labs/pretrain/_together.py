"""Several workers that prepare a run: all of them go on, or all of them leave with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from helpers.gpt import Workers

T = TypeVar("T")


def gather(workers: Workers, value: Any) -> list[Any]:
    """The value of each worker, by rank; every worker gets all of them."""
    if workers.count == 1:
        return [value]
    gathered: list[Any] = [None] * workers.count
    dist.all_gather_object(gathered, value)
    return gathered


def together(workers: Workers, work: Callable[[], T]) -> T:
    """What `work` returns here, once it has ended well on every worker; nobody waits for one that failed.

    ValueError: it raised a ValueError on this worker (that one), or on another one (its words).
    """
    own, result = None, None
    try:
        result = work()
    except ValueError as error:
        own = error
    reasons = [reason for reason in gather(workers, str(own) if own else None) if reason]
    if own:
        raise own
    if reasons:
        raise ValueError(reasons[0])
    return result
