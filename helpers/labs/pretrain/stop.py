"""Signals that ask a run to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.labs.distributed import world_size

HANGUP = getattr(signal, "SIGHUP", None)  # a terminal that was closed; Windows has none
SIGNALS = (signal.SIGTERM, signal.SIGINT, *filter(None, [HANGUP]))


@contextmanager
def listening() -> Iterator[list[int]]:
    """Signals that ask to stop, as they come: the first SIGTERM, Ctrl-C or SIGHUP; a second ends the process at once.

    Under nohup a SIGHUP stays ignored.
    Among several ranks further ones are ignored: torchrun passes on what the terminal has sent already.
    """
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        if world_size() == 1:
            signal.signal(number, signal.SIG_DFL)

    nohup = HANGUP and signal.getsignal(HANGUP) == signal.SIG_IGN
    before = {number: signal.signal(number, ask) for number in SIGNALS if not (nohup and number == HANGUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
