"""Make the environment of the course, or mend it: what `make lab` and `make test` call first. Standard library only.

    python tools/install.py VENV STAMP [pip's arguments]

Whatever was interrupted is made anew: a mark stands in the environment from before its first file until after its last.
Two calls at once wait for each other. The last line of an error says what to do.
Each Python runs isolated (-I): what lies in the folder, a json.py of the reader's, is no module of pip's.
"""

import csv
import errno
import fcntl
import hashlib
import marshal
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = ".unfinished"
CACHE_TAG = sys.implementation.cache_tag
RECORDS = "lib/python*/site-packages/*.dist-info"  # a folder for each package, in an environment
PATH_FILE = "lib/python*/site-packages/course.pth"  # by which Python finds `helpers`
SIGNS = (MARK, ".installed")  # one of them stands in what was or is an environment of ours
NOT_HANDED_ON = ("PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR")  # what a shell sets for another Python or pip
NOT_HANDED_ON += ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN", "PIP_PYTHON")
BUILDS = {"PIP_USE_PEP517": "1"}  # Debian 12's pip else leaves what comes as source without a record of its files
NEEDED = [ROOT / name for name in ("requirements.txt", "pyproject.toml", "helpers/lab.py")]
NO_NETWORK = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "is unreachable")
NO_NETWORK += ("connection broken", "Read timed out", "IncompleteRead", "not enough bytes")
NO_INDEX = ("(from versions: none)", "error responses")
NO_PACKAGE = (" is invalid.", "not a zip file", "BadZipFile", "DO NOT MATCH THE HASHES", "has inconsistent")
LOG_IN = "a page of the network where you must log in, or a server out of order: open any page in a browser, then again"
NO_TRUST = ("CERTIFICATE_VERIFY_FAILED", "confirming the ssl certificate")
CERTIFICATE = "set this machine's clock right, or name your network's certificate: PIP_CERT=/its.pem make lab"
NONE = "there is none for this Python and system"
NETWORK = {  # signs in what pip says -> what the person reads; the first that fits
    NO_TRUST: f"the certificate of the package index could not be verified: {CERTIFICATE}",
    NO_NETWORK: "installing needs a network, and no package index answered: connect, then run it again",
    NO_PACKAGE: f"what came from the package index is no whole package. Perhaps {LOG_IN}",
    NO_INDEX: f"the package index did not list or give a package. Perhaps {NONE}, or {LOG_IN}",
}
ADVICE = {
    errno.ENOSPC: "there is no room left: the environment takes about 2 GB, with CUDA 7 GB",
    errno.EACCES: "nothing can be written there: copy the course elsewhere, or say make lab VENV=/a/new/folder",
}
ADVICE[errno.EDQUOT] = ADVICE[errno.ENOSPC]
ADVICE[errno.EROFS] = ADVICE[errno.EPERM] = ADVICE[errno.EACCES]


class Failed(Exception):
    """What the person at the keyboard reads, one line."""


def main(arguments: list[str]) -> int:
    if arguments[0] == "--whole":
        drop_cut_bytecode()
        return not is_whole(Path(arguments[1]))
    venv, stamp, *pip_arguments = arguments
    try:
        with one_at_a_time(Path(f"{os.path.realpath(venv)}.lock"), "the environment"):  # courses may share it by a link
            if not is_current(Path(venv), Path(stamp)):
                install(Path(os.path.realpath(venv)), Path(stamp), pip_arguments)  # `resolve` fails on a loop
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
def one_at_a_time(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`; say so where another, which makes `what`, holds it, and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as lock:  # of a pipe it does not wait for a reader
        os.set_inheritable(lock.fileno(), True)  # a pip that outlives a killed make still holds it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another make is making {what}: waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_current(venv: Path, stamp: Path) -> bool:
    """Whether the environment is whole, runs, and is younger than what it is made from."""
    if not stamp.exists() or not is_whole(venv):
        return False
    return all(stamp.stat().st_mtime >= path.stat().st_mtime for path in NEEDED)


def runs(venv: Path) -> bool:
    """Whether its Python starts, is an environment of its own, new enough, and has pip."""
    asks = "import sys, pip._internal.cli.main; sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 11))"
    try:
        return subprocess.run([venv / "bin/python", "-I", "-c", asks], capture_output=True).returncode == 0
    except OSError:
        return False


def is_whole(venv: Path) -> bool:
    """Whether the environment was finished, from the files that are here now, and still has all it needs."""
    stamp = venv / ".installed"
    same = stamp.is_file() and stamp.read_text("utf-8", "replace") == digest()
    return same and not (venv / MARK).exists() and has_all(venv)


def drop_cut_bytecode() -> None:
    """Where a disk was full, Python may have kept a part of a module's bytecode: it would end at that ever after."""
    for path in (path for name in ("helpers", "tools") for path in (ROOT / name).rglob(f"*.{CACHE_TAG}.pyc")):
        with suppress(OSError):
            try:
                marshal.loads(path.read_bytes()[16:])
            except (EOFError, ValueError, TypeError):
                path.unlink()


def digest() -> str:
    """Of what the environment is made from: a copy of an older course may keep its dates."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in NEEDED)).hexdigest()


def has_all(venv: Path) -> bool:
    """Whether the environment runs, with this course and every package that requirements.txt pins."""
    return runs(venv) and not hollow(venv) and leads_here(venv) and not missing(venv)


def leads_here(venv: Path) -> bool:
    """Whether its Python finds this course: of two that share an environment, the one that was installed last."""
    return any((path.parent / path.read_text("utf-8").strip()).resolve() == ROOT for path in venv.glob(PATH_FILE))


def missing(venv: Path) -> set[str]:
    """The packages that requirements.txt pins and of which no record is there."""
    there = (path.name.split("-")[0] for path in venv.glob(RECORDS))
    pinned = re.findall(r"^([\w.-]+)==[^;\n]*$", NEEDED[0].read_text("utf-8", "replace"), re.MULTILINE)
    return set(map(_normal, pinned)) - set(map(_normal, there))


def hollow(venv: Path) -> list[Path]:
    """Records of packages of which files are gone: pip, which reads the records, takes them for installed."""
    return [info for info in venv.glob(RECORDS) if not _has_its_files(info)]


def _has_its_files(info: Path) -> bool:
    """Whether what a package's record lists is there, and empty only where it was: a power cut may empty the rest."""
    with suppress(FileNotFoundError), open(info / "RECORD", encoding="utf-8", errors="replace", newline="") as lines:
        for name, size in ((row[0], row[2]) for row in csv.reader(lines) if len(row) == 3):
            try:
                if size.isdigit() and not os.stat(os.path.join(info.parent, name)).st_size and int(size):
                    return False
            except OSError:
                return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def install(venv: Path, stamp: Path, pip_arguments: list[str]) -> None:
    """Build at `venv` what requirements.txt pins, this course on its path, and JupyterLab's settings."""
    newest, made_from = max(path.stat().st_mtime_ns for path in NEEDED), digest()
    if venv.exists() and not venv.is_dir():
        raise Failed(f"{venv} is a file where the environment belongs: move it away, then run this again")
    anew = (venv / MARK).exists() or not runs(venv)
    if venv.exists() and any(venv.iterdir()) and not any(os.path.lexists(venv / sign) for sign in SIGNS):
        way = f"move it away, or name a new folder, as in make lab VENV={venv}/env"
        raise Failed(f"{venv} holds files or an environment that make did not make: {way}")
    venv.mkdir(parents=True, exist_ok=True)
    print(f"installing what is missing into {venv}: at first 2 GB, with CUDA 7 GB, which can take long", flush=True)
    python = str(venv / "bin/python")
    pip = [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    wanted = [*pip_arguments, "-r", str(ROOT / "requirements.txt")]
    if not anew:  # what is interrupted while pip only looks goes on working
        step([*pip, "--dry-run", *wanted], "pip")
    (venv / MARK).touch()
    if anew:
        for path in venv.iterdir():  # the mark stays: a removal that is cut short must not look whole
            if path.name != MARK:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        step([sys._base_executable, "-I", "-m", "venv", "--without-pip", str(venv)], "venv")
        step([python, "-I", "-m", "ensurepip", "--upgrade", "--default-pip"], "ensurepip")
    for info in hollow(venv):
        shutil.rmtree(info)
    before = changed(venv)
    try:
        step([*pip, *wanted], "pip")
    except Failed:
        if not anew and changed(venv) == before:
            (venv / MARK).unlink()  # pip changed nothing: what worked goes on working
        raise
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-I", "-c", where], text=True).strip()
    inside = Path(packages).is_relative_to(ROOT)  # then a relative path: it survives a move, and is plain ASCII
    way = os.path.relpath(ROOT, packages) if inside else ROOT
    Path(packages, "course.pth").write_text(f"{way}\n", encoding="utf-8")
    step([python, "-I", "-m", "helpers.lab"], "JupyterLab's settings")
    if not has_all(venv):
        lost = ", ".join(sorted(missing(venv))[:3]) or "packages"
        raise Failed(f"pip put {lost} elsewhere: `pip config list` and PIP_TARGET, PIP_PREFIX, PIP_ROOT say where")
    stamp.write_text(made_from, encoding="utf-8")
    os.utime(stamp, ns=(newest, newest))  # as old as what it was made from, whatever the clock says
    (venv / MARK).unlink()  # after the stamp: at any moment one of the signs is there


def changed(venv: Path) -> list[int]:
    """When a package last came or went; what pip says of it depends on its settings."""
    return [path.stat().st_mtime_ns for path in venv.glob("lib/python*/site-packages")]


def step(command: list[str], name: str) -> None:
    """Run one command; Failed with the reason and the way out where it does not end well."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON} | BUILDS
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, errors="replace", close_fds=False)
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip()
    causes = [cause for signs, cause in NETWORK.items() if any(sign in said for sign in signs)]
    if causes:
        raise Failed(causes[0])
    if any(os.strerror(number) in said for number in (errno.ENOSPC, errno.EDQUOT)):
        raise Failed(f"{name}: {ADVICE[errno.ENOSPC]}")
    lines = said.splitlines() or ["no word"]
    reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
    raise Failed(f"{name} ended with {done.returncode}: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
