"""When a run has to stop before its end: a signal, or its time is up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from helpers.gpt import Workers

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether to stop, agreed upon by all workers: one of them may have been told earlier than the others."""

    def __init__(self, workers: Workers, device: torch.device) -> None:
        self.workers, self.device = workers, device
        self.number = 0

    def status(self, late: bool) -> int | None:
        """Exit status to stop with now: 128 + n after signal n, 0 where the time is up; None: go on."""
        asked = [float(self.number == number) for number in SIGNALS]
        *signals, times_up = self.workers.total(*asked, float(late), device=self.device)
        for number, count in zip(SIGNALS, signals, strict=True):
            if count:
                return 128 + number
        return 0 if times_up else None


@contextmanager
def listening(workers: Workers, device: torch.device) -> Iterator[StopRequest]:
    """Inside the block the first SIGTERM or Ctrl-C asks to stop, and a second one ends the process at once.

    Among several workers further ones are ignored: torchrun passes on what the terminal has sent already.
    """
    request = StopRequest(workers, device)

    def ask(number: int, _frame: object) -> None:
        request.number = number
        if workers.count == 1:
            signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield request
        return
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
