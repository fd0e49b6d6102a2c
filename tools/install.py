"""Make the environment of the course, or mend it: what `make lab` and `make test` call first. Standard library only.

    python tools/install.py VENV STAMP [pip's arguments]

Whatever was interrupted is made anew: a mark stands in the environment from before its first file until after its last.
Two calls at once wait for each other. The last line of an error says what to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = ".unfinished"
NEEDED = [ROOT / name for name in ("requirements.txt", "pyproject.toml", "helpers/lab.py")]
NO_NETWORK = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "is unreachable")
ADVICE = {
    errno.ENOSPC: "there is no room left: the environment takes about 2 GB, with CUDA 7 GB",
    errno.EACCES: "nothing can be written there: copy the course elsewhere, or say make lab VENV=/where/you/may/write",
}
ADVICE[errno.EROFS] = ADVICE[errno.EPERM] = ADVICE[errno.EACCES]


class Failed(Exception):
    """What the person at the keyboard reads, one line."""


def main(arguments: list[str]) -> int:
    venv, stamp, *pip_arguments = arguments
    try:
        with one_at_a_time(Path(f"{venv}.lock")):
            if not is_current(Path(venv), Path(stamp)):
                install(Path(venv).absolute(), Path(stamp), pip_arguments)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}: {ADVICE.get(error.errno, 'mend that and run this again')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again, it begins where it has to", file=sys.stderr)
        return 130
    return 0


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; say so where another holds it, and wait."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another make is installing the environment: waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_current(venv: Path, stamp: Path) -> bool:
    """Whether the environment is whole, runs, and is younger than what it is made from."""
    if not stamp.exists() or (venv / MARK).exists() or not runs(venv):
        return False
    return all(stamp.stat().st_mtime >= path.stat().st_mtime for path in NEEDED)


def runs(venv: Path) -> bool:
    """Whether its Python starts and has pip; not so where it was moved, cut short, or its Python is gone."""
    try:
        return subprocess.run([venv / "bin/python", "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def install(venv: Path, stamp: Path, pip_arguments: list[str]) -> None:
    """Build at `venv` what requirements.txt pins, this course on its path, and JupyterLab's settings."""
    if (venv / MARK).exists() or not runs(venv):
        shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(parents=True, exist_ok=True)
    (venv / MARK).touch()
    if not runs(venv):
        step([sys.executable, "-m", "venv", str(venv)], "venv")
    python = str(venv / "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    step([*pip, *pip_arguments, "-r", str(ROOT / "requirements.txt")], "pip")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-c", where], text=True).strip()
    Path(packages, "course.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    step([python, "-m", "helpers.lab"], "JupyterLab's settings")
    (venv / MARK).unlink()
    stamp.touch()


def step(command: list[str], name: str) -> None:
    """Run one command; Failed with the reason and the way out where it does not end well."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip()
    if any(sign in said for sign in NO_NETWORK):
        raise Failed(
            "the first installation needs a network, and no package index answered: connect, then run it again"
        )
    if os.strerror(errno.ENOSPC) in said:
        raise Failed(f"{name}: {ADVICE[errno.ENOSPC]}")
    raise Failed(f"{name} ended with {done.returncode}: {said.splitlines()[-1] if said else 'no word'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
