"""The cage of one exercise: Linux namespaces and limits, entered by a forked process, never left again.

`enter` is for the check and the answer both: no network, a file system that is read-only and lacks the other students'
folders, and one small folder of their own. `lock` is for the answer alone: processes that it starts end with it;
memory, files, processes and time are limited; what it prints goes nowhere.
"""

import contextlib
import ctypes
import errno
import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.notebooks import ROOT

NEW = {"user": 0x10000000, "mount": 0x00020000, "process": 0x20000000, "network": 0x40000000, "ipc": 0x08000000}
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 1 << 18  # of mount(2)
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, READ_ONLY = 442, -100, 0x8000, 0x1  # a system call of Linux 5.12
CAPABILITIES = 0x20080522  # the version of capset(2)
DIE_WITH_PARENT, DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38  # of prctl(2)
NOBODY = 65534
MEMORY_BYTES = 2**29  # of a process, above what it has when it begins
FILE_BYTES, FOLDER_BYTES, N_PROCESSES, N_FILES = 2**24, 2**26, 12, 64
EMPTY = ("notebooks", "lecture_notes", "tests", "pt-BR", "build", ".git")  # of the course: there the solutions are
SYSTEM = re.compile(r"bin|dev|etc|gnu|lib\w*|nix|proc|sbin|sys|usr")  # what stays of the root folder


def needed() -> set[Path]:
    """The folders without which nothing runs in a cage."""
    places = [ROOT, sys.prefix, sys.base_prefix, *filter(None, sys.path)]
    return {Path(place).resolve() for place in places if os.path.isdir(place)}


def hidden(folders: Sequence[Path]) -> list[Path]:
    """What is empty in a cage but for what is needed: all but the system, `folders`, the course's own solutions.

    ValueError: Python or the course lies within one of `folders`.
    """
    for folder in folders:
        if inside := [place for place in needed() if place.is_relative_to(folder.resolve())]:
            raise ValueError(f"{folder} holds {inside[0]}, and would be hidden: put what was returned elsewhere")
    others = [path for path in sorted(Path("/").iterdir()) if not SYSTEM.fullmatch(path.name)]
    others += [Path("/dev/pts"), Path("/dev/shm"), Path.home()]  # the teacher's terminals, memory that others share
    there = [path.resolve() for path in (*others, *folders, *(place / name for place in needed() for name in EMPTY))]
    return [path for path in there if path.is_dir() and path != Path("/")]


def enter(own: Path, empty: Sequence[Path]) -> None:
    """Be an ordinary user without a network, in a file system that is read-only but for `own`, `empty` as of `hidden`.

    OSError: this system does not permit it.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory ends, this ends first
    os.umask(0o022)  # what stands in for a folder is read by others, whatever the teacher's is
    root = os.getuid() == 0
    user, group = (NOBODY, NOBODY) if root else (os.getuid(), os.getgid())
    rest = ("mount", "network", "ipc", "process")  # the processes that are forked from now on, not this one
    _unshare(*rest) if root else _unshare("user", *rest)
    _mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    for folder in empty:
        with contextlib.suppress(_OutOfReach):
            _empty(folder)
    own.mkdir(parents=True, exist_ok=True)
    for place, attributes in ((b"/", (READ_ONLY, 0, 0, 0)), (b"/proc", (0, READ_ONLY, 0, 0))):
        attributes = ctypes.byref((ctypes.c_uint64 * 4)(*attributes))
        _done(_libc().syscall(MOUNT_SETATTR, AT_FDCWD, place, AT_RECURSIVE, attributes, 32), "read-only")
    options = f"size={FOLDER_BYTES},mode=700,uid={user},gid={group}"
    _mount(b"tmpfs", os.fsencode(own), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode())
    if root:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        _unshare("user")  # in which processes are counted
    os.chdir(own)
    os.environ.update(HOME=str(own), TMPDIR=str(own))
    tempfile.tempdir = str(own)
    _libc().prctl(DUMPABLE, 0)  # what runs as the same user cannot look into it or change it


def _empty(folder: Path) -> None:
    """Put an empty folder in the place of this one, and back into it what is needed of it."""
    kept = [(path, os.open(path, os.O_PATH)) for path in sorted(needed()) if path.is_relative_to(folder)]
    _mount(b"tmpfs", os.fsencode(folder), b"tmpfs", MS_NOSUID | MS_NODEV, b"size=256k,mode=755")
    for path, number in kept:
        path.mkdir(parents=True, exist_ok=True)
        _mount(b"/proc/self/fd/%d" % number, os.fsencode(path), None, MS_BIND | MS_REC, None)
        os.close(number)


def lock(seconds: int, keep: int) -> None:
    """Limit what this process and those that it starts can take; of its open files only number `keep` stays open."""
    capabilities = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    _done(_libc().capset(*map(ctypes.byref, capabilities)), "capabilities")  # none: what `enter` did stays done
    os.setsid()  # a signal to its group, or what it says to the terminal, reaches nobody else
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    limit_memory()
    limits = {"FSIZE": FILE_BYTES, "NPROC": N_PROCESSES, "NOFILE": max(N_FILES, keep + 1), "CORE": 0}
    for name, most in (limits | {"CPU": seconds + 1}).items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large is an OSError
    _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _libc().prctl(DIE_WITH_PARENT, signal.SIGKILL)


def limit_memory() -> None:
    """Let this process, and each that it starts, take MEMORY_BYTES above what it holds, and no more."""
    with open("/proc/self/statm") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def why_not() -> str:
    """Why this system permits no cage, or "" if it does."""
    if sys.platform != "linux":
        return "cages are made of Linux namespaces (on Windows use WSL)"
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as own:
        if not (child := os.fork()):
            try:
                enter(Path(own), hidden([]))
                unread = [place for place in needed() if not os.access(place, os.R_OK | os.X_OK)]
                said = f"no other user may read {unread[0]}" if unread else ""
            except BaseException as error:
                said = str(error)
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
    with open(reading, "rb") as pipe:
        return pipe.read().decode()


class _OutOfReach(OSError):
    """This user may not even look a path up, or it is hidden already."""


def _unshare(*names: str) -> None:
    user, group = os.getuid(), os.getgid()
    _libc().prctl(DUMPABLE, 1)  # else the files below belong to root, after a change of user
    _done(_libc().unshare(sum(NEW[name] for name in names)), "namespaces")
    if "user" not in names:
        return
    for file, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{file}", "w") as out:
            out.write(content)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None) -> None:
    _done(_libc().mount(source, target, kind, ctypes.c_ulong(flags), options), f"mount {os.fsdecode(target)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _done(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        kind = _OutOfReach if number in (errno.EACCES, errno.ENOENT) else OSError
        raise kind(number, f"{what}: {os.strerror(number)}")
