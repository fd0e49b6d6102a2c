"""What authors run."""

import helpers  # noqa: F401 - first: of Ctrl-C each command says one line, and its finally blocks run

# isort: split
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(out: Path, what: str = "") -> Iterator[None]:
    """Of two processes that make `out` at once, the second waits and says so; `what` is in its words, else the path.

    OSError: no file can stand beside it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"another process is making {what or out}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def anew(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends; if it fails, `out` stays as it was.

    Two that make it at once wait as for `alone`. OSError: no folder can stand there.
    """
    aside, former = (out.with_name(f".{out.name}.{what}") for what in ("unfinished", "former"))

    def bring_back() -> None:
        if former.exists() and not out.exists():
            former.rename(out)

    with alone(out):
        bring_back()  # of a process that was killed between the two renames below
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            shutil.rmtree(former, ignore_errors=True)
            if out.is_symlink():
                out.unlink()  # and what it leads to, perhaps a folder of the web, stays as it is
            with suppress(FileNotFoundError):
                out.rename(former)
            aside.rename(out)
        except BaseException:
            bring_back()
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(former, ignore_errors=True)


def reason(error: Exception) -> str:
    """Of an error what a line has room for; of shutil's, which lists each file, the first."""
    listed = error.args[0] if isinstance(error, shutil.Error) else None
    return str(listed[0][-1] if isinstance(listed, list) else error)[:300]
