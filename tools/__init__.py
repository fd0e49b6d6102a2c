"""What authors run."""

from contextlib import AbstractContextManager
from pathlib import Path

import helpers  # noqa: F401 - of Ctrl-C each command says one line, and its finally blocks run
from tools.install import one_at_a_time


def alone(out: Path) -> AbstractContextManager[None]:
    """Of two processes that make `out` at once, the second waits, with a word. OSError: no file can stand beside it."""
    return one_at_a_time(out.with_name(f".{out.name}.lock"), str(out))
