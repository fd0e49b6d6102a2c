"""What authors run."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import helpers  # noqa: F401 - of Ctrl-C each command says one line, and its finally blocks run
from tools.install import one_at_a_time


def alone(out: Path) -> AbstractContextManager[None]:
    """Of two processes that make `out` at once, the second waits, with a word. OSError: no file can stand beside it."""
    return one_at_a_time(out.with_name(f".{out.name}.lock"), str(out))


@contextmanager
def anew(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends; if it fails, `out` stays as it was.

    Two that make it at once wait as for `alone`. OSError: no folder can stand there.
    """
    aside = out.with_name(f".{out.name}.unfinished")
    with alone(out):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        if out.is_symlink():
            out.unlink()  # and what it leads to, perhaps a folder of the web, stays as it is
        shutil.rmtree(out, ignore_errors=True)
        aside.rename(out)


def reason(error: Exception) -> str:
    """Of an error what a line has room for; of shutil's, which lists each file, the first."""
    listed = error.args[0] if isinstance(error, shutil.Error) else None
    return str(listed[0][-1] if isinstance(listed, list) else error)[:300]
