"""The machine under the notebook: device, precision, threads and seed, decided in one place."""

import importlib
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from helpers.language import ENGLISH, choose, t

# Threads that wait must sleep: spinning ones make two cores ten times slower as soon as anything else runs beside them.
# Torch reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C, and a kernel's interruption, act at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows handlers in the main thread alone, which is the one that is interrupted
        return
    sent: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: sent.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)  # None: a handler that is not Python's
    if sent:
        signal.raise_signal(signal.SIGINT)


with ctrl_c_waits():  # what was half loaded could not be loaded again before the kernel is restarted
    import numpy as np
    import torch

MIN_BF16_CAPABILITY = (8, 0)  # Ampere; `torch.cuda.is_bf16_supported()` also says yes on a T4, which only emulates it
MAX_SEED = 2**32 - 1  # numpy's limit
THREADS_VARIABLE = "COURSE_THREADS"
DEFAULT_THREADS = 1  # what small models compute is too short to be shared: with two, notebooks take as long or longer
MAX_THREADS = 1024


@dataclass(frozen=True)
class Lab:
    """What the notebook runs on.

    device      where tensors live
    precision   dtype of the matmuls under autocast: float32, bfloat16 or float16
    grad_scaler whether gradients need a scaler (float16 only)
    model       name of the preset that this machine can train in class time
    seed        what Python, numpy and torch were seeded with
    threads     CPU threads that torch may use
    """

    device: torch.device
    precision: torch.dtype
    grad_scaler: bool
    model: str
    seed: int
    threads: int

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else threads_in_words(self.threads)
        precision = str(self.precision).removeprefix("torch.")
        python = ".".join(map(str, sys.version_info[:3]))
        versions = f"torch {torch.__version__} · Python {python}"
        return f"{self.device.type} ({name}) · {precision} · {t('model')} {self.model} · {versions}"


def start(seed: int = 0, language: str = ENGLISH) -> Lab:
    """Seed everything, choose device, precision and threads, and report them.

    seed      whole number in [0, 2**32)
    language  in which the course speaks to the reader from now on: "en" or "pt_BR"
    return    a Lab; printing it gives one line

    ValueError: a seed outside the range, a language that the course does not have, or COURSE_THREADS set to something
    that is no whole number from 1 to MAX_THREADS.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be a whole number in [0, {MAX_SEED}], got {seed!r}")
    choose(language)
    if "ipykernel" in sys.modules:  # elsewhere an interruption ends the process, and records do not count it as theirs
        with ctrl_c_waits():
            importlib.import_module("torch._dynamo")  # for a second, which the first optimizer would take else
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    threads = _threads()
    torch.set_num_threads(threads)
    if torch.get_num_threads() != threads:
        raise RuntimeError(f"torch keeps {torch.get_num_threads()} threads, expected {threads}: restart the kernel")
    device = pick_device()
    precision = pick_precision(device)
    model = "book-124m" if device.type == "cuda" else "course-small"
    return Lab(device, precision, precision == torch.float16, model, seed, threads)


def threads_in_words(n: int) -> str:
    return t("1 thread") if n == 1 else t("{n} threads", n=n)


def threads_in_use() -> int:
    """CPU threads that torch uses now; other code in the same kernel may have changed them."""
    return torch.get_num_threads()


def pick_device() -> torch.device:
    """CUDA where there is a GPU, otherwise the CPU (Apple's MPS is left to whoever asks for it)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(device: torch.device) -> torch.dtype:
    """bfloat16 from compute capability 8.0, float16 on older GPUs (a T4 is 7.5), float32 on a CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= MIN_BF16_CAPABILITY else torch.float16


def memory_bytes(device: torch.device) -> int | None:
    """All the memory that the device has, in use or not: a GPU's own, else the machine's; None where it is not known.

    What a container is allowed of the machine's is not looked at.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    names = getattr(os, "sysconf_names", {})  # none on Windows
    if device.type != "cpu" or not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; the CPU's allocator says so in words only."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in ("allocate memory", "not enough memory", "out of memory"))


def _threads() -> int:
    asked = os.environ.get(THREADS_VARIABLE)
    if asked is None:
        return DEFAULT_THREADS
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= MAX_THREADS:
        raise ValueError(f"{THREADS_VARIABLE} must be a whole number in [1, {MAX_THREADS}], got {asked!r}")
    return int(asked)
