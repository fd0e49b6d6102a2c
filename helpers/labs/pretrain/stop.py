"""Signals that ask a run to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.labs.distributed import world_size

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def listening() -> Iterator[list[int]]:
    """Signals that ask to stop, as they come: the first SIGTERM or Ctrl-C; a second one ends the process at once.

    Among several ranks further ones are ignored: torchrun passes on what the terminal has sent already.
    """
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        if world_size() == 1:
            signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
