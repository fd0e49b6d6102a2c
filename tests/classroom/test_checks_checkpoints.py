"""The checks of notebook 06: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import os
import pickle
import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from helpers.classroom import verdict
from tests import exercises


def write_beside(path, blocks, *, flush=True, sync=True, clean=True, swallow=False, folder=None, rename=Path.replace):
    """An atomic writer with its virtues as switches."""
    beside = Path(folder or path.parent) / "unfinished"
    try:
        with open(beside, "wb") as file:
            for block in blocks:
                file.write(block)
            if flush:
                file.flush()
            if sync:
                os.fsync(file.fileno())
        rename(beside, path)
    except InterruptedError:
        if clean:
            beside.unlink()
        if not swallow:
            raise


def naive(path, blocks):
    with open(path, "wb") as file:
        for block in blocks:
            file.write(block)


def copies(path, blocks):
    write_beside(path, blocks, rename=lambda a, b: (Path(b).write_bytes(Path(a).read_bytes()), Path(a).unlink()))


def through_another_folder(path, blocks):
    with tempfile.TemporaryDirectory() as other:
        write_beside(path, blocks, folder=other)


def sums_of(folder, read=lambda path: path.read_bytes(), missing=True):
    found = []
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split("  ")
        if (not (folder / name).exists() and missing) or hashlib.sha256(read(folder / name)).hexdigest() != wanted:
            found.append(name)
    return found


def choose(candidates, *, key=lambda c: (c[1], c[0] == "out"), refuse=True):
    good = [c for c in candidates if c[2] is None]
    if not good and candidates and refuse:
        raise ValueError("; ".join(f"{c[0]}: {c[2]}" for c in candidates))
    return max(good, key=key)[:2] if good else None


def refuses_silently(candidates):
    try:
        return choose(candidates)
    except ValueError:
        raise ValueError("no good checkpoint") from None


def by_descriptor(path, blocks):
    """Without Python's buffer there is nothing to flush."""
    beside = f"{path}.part"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for block in blocks:
            os.write(descriptor, block)
        os.fsync(descriptor)
        os.close(descriptor)
        shutil.move(beside, path)
    except Exception:
        os.unlink(beside)
        raise


def sums_by_blocks(folder):
    wrong = set()
    for line in (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines():
        digest, name = line.split()
        try:
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            found = None
        if found != digest:
            wrong.add(name)
    return wrong


def choose_sorted(candidates):
    if candidates == []:
        return None
    ranked = sorted(((step, folder == "out", folder) for folder, step, why in candidates if not why), reverse=True)
    if not ranked:
        raise ValueError(", ".join(why for *_, why in candidates))
    return [ranked[0][2], np.int64(ranked[0][0])]


def counted(n_tokens, B, T, per_epoch):
    epoch, place = 0, n_tokens // B // T
    while place >= per_epoch:
        epoch, place = epoch + 1, place - per_epoch
    return [epoch, place]


NUMBERS_HELD = {"AdamW": 3, "SGD with momentum": 2, "SGD": 1}


def saved(state, write, *, taken=copy.deepcopy):
    executor = ThreadPoolExecutor(max_workers=1)
    future = executor.submit(write, taken(state))
    executor.shutdown(wait=False)
    return future


def in_the_foreground(state, write):
    future = Future()
    future.set_result(write(copy.deepcopy(state)))
    return future


class Thread(threading.Thread):
    """A thread whose result is kept and whose errors are lost."""

    def result(self):
        self.join()
        return self.kept

    def run(self):
        self.kept = None
        with contextlib.suppress(OSError):
            self.kept = self._target(*self._args)


def loses_errors(state, write):
    thread = Thread(target=write, args=(copy.deepcopy(state),))
    thread.start()
    return thread


def never_resolved(state, write):
    future, held = Future(), copied_by_identity(state)

    def run():
        with contextlib.suppress(OSError):
            future.set_result(write(held))

    threading.Thread(target=run, daemon=True).start()
    return future


def copied_by_identity(state):
    copies = {}
    for tensor in state.values():
        copies.setdefault(id(tensor), tensor.detach().clone())
    return {name: copies[id(tensor)] for name, tensor in state.items()}


def copied_as_a_file(state):
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    return torch.load(file)


def of_a_pool(state, write):
    pool = ThreadPool(1)
    asked = pool.apply_async(write, [copied_as_a_file(state)])
    pool.close()  # no further work comes; what runs goes on
    return SimpleNamespace(result=asked.get)


def into_a_future(state, write):
    future, held = Future(), pickle.loads(pickle.dumps(state))

    def run():
        try:
            future.set_result(write(held))
        except OSError as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


RIGHT_ANSWERS = {
    "c1-bytes": [
        lambda n, optimizer: 4 * n * NUMBERS_HELD[optimizer],
        lambda n, optimizer: n * 4 + 2 * n * 4 * (optimizer == "AdamW") + n * 4 * ("momentum" in optimizer),
        lambda n, optimizer: np.zeros((NUMBERS_HELD[optimizer], n), dtype=np.float32).nbytes,
    ],
    "c1-next-batch": [
        lambda n, B, T, per_epoch: (n // (B * T * per_epoch), n % (B * T * per_epoch) // (B * T)),
        lambda n, B, T, per_epoch: divmod(n / B / T, per_epoch),
        counted,
    ],
    "c2-atomic-write": [write_beside, lambda path, blocks: write_beside(path, blocks, rename=os.rename), by_descriptor],
    "c2-check-sums": [sums_of, sums_by_blocks, lambda folder: sorted(map(Path, sums_by_blocks(folder)))],
    "c2-go-on-from": [
        choose,
        choose_sorted,
        lambda c: next(
            iter(sorted(((f, s) for f, s, r in c if not r), key=lambda g: (-g[1], g[0] != "out"))), choose(c)
        ),
    ],
    "c2-background": [saved, of_a_pool, into_a_future],
}

MISTAKES = [
    ("c1-bytes", lambda n, optimizer: 4 * n, "remember"),
    ("c1-bytes", lambda n, optimizer: 12 * n, "SGD"),
    ("c1-bytes", lambda n, optimizer: n * NUMBERS_HELD[optimizer], "how many bytes has a float32"),
    ("c1-bytes", lambda n, optimizer: f"{4 * n * NUMBERS_HELD[optimizer]:,}", "(str)"),
    ("c1-bytes", lambda n, optimizer: 2 * n * NUMBERS_HELD[optimizer], "AdamW"),
    ("c1-next-batch", lambda n, B, T, per_epoch: (0, n // (B * T)), "same epoch"),
    ("c1-next-batch", lambda n, B, T, per_epoch: divmod(n // B, per_epoch), "64 tokens"),
    ("c1-next-batch", lambda n, B, T, per_epoch: divmod(n // (B * T) + 1, per_epoch), "0 tokens"),
    ("c1-next-batch", lambda n, B, T, per_epoch: n // (B * T), "(epoch, place)"),
    ("c1-next-batch", lambda n, B, T, per_epoch: (1 + counted(n, B, T, per_epoch)[0], 0), "counted from 0"),
    ("c2-atomic-write", naive, "Under which name"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, sync=False), "no fsync"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, flush=False), "flush"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, clean=False), "still there"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, swallow=True), "as if nothing"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, [b"".join(blocks)]), "in memory"),
    ("c2-atomic-write", copies, "without os.replace"),
    ("c2-atomic-write", through_another_folder, "the same folder"),
    ("c2-atomic-write", lambda path, blocks: None, "holds None"),
    ("c2-check-sums", lambda folder: [], "one bit flipped"),
    (
        "c2-check-sums",
        lambda folder: [folder / name for name in sums_of(folder)],
        "Path('folder",
    ),
    ("c2-check-sums", lambda folder: len(sums_of(folder)), "got 0 (int)"),
    ("c2-check-sums", lambda folder: [n for n in sums_of(folder) if (folder / n).exists()], "a file deleted"),
    ("c2-check-sums", lambda folder: sums_of(folder, missing=False), "not a crash"),
    ("c2-check-sums", lambda folder: sums_of(folder, read=lambda path: path.read_bytes()[:65536]), "nothing was"),
    ("c2-check-sums", lambda folder: not sums_of(folder), "expected the names"),
    ("c2-go-on-from", lambda candidates: choose(candidates, refuse=False), "begin anew"),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=lambda c: str(c[1])), "newest good"),
    (
        "c2-go-on-from",
        lambda candidates: choose(candidates) if candidates else 0,
        "(folder, step) or None, got 0 (int)",
    ),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=lambda c: (c[1], c[0] == "drive")), "nearer"),
    ("c2-go-on-from", lambda candidates: choose([(*c[:2], None) for c in candidates]), "expected ('out', 20)"),
    ("c2-go-on-from", lambda candidates: (choose(candidates) or ("out",))[0], "a pair"),
    ("c2-go-on-from", refuses_silently, "reasons"),
    ("c2-background", lambda *a: saved(*a, taken=dict), "Whose tensors"),
    ("c2-background", lambda *a: saved(*a, taken=lambda s: {k: v.clone() for k, v in s.items()}), "twice the bytes"),
    ("c2-background", in_the_foreground, "Start a thread"),
    ("c2-background", loses_errors, "a thread's errors"),
    ("c2-background", never_resolved, "never returned: where do a thread's errors go?"),
    ("c2-background", lambda *a: saved(*a) and "started", "a method result()"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_what_was_listened_to_is_given_back():
    before = os.fsync, os.replace, os.rename
    verdict("c2-atomic-write", naive)
    verdict("c2-atomic-write", write_beside)
    assert (os.fsync, os.replace, os.rename) == before
