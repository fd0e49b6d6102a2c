"""The checks of notebook 06: other right answers pass, planted mistakes do not."""

import contextlib
import copy
import io
import os
import pickle
import tempfile
import threading
from concurrent.futures import Future
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from helpers.classroom import verdict
from tests import exercises


def through_another_folder(write, path, blocks):
    with tempfile.TemporaryDirectory() as other:
        write(Path(other, path.name), blocks)
        os.replace(Path(other, path.name), path)


def of_a_pool(state, write):
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    pool = ThreadPool(1)
    asked = pool.apply_async(write, [torch.load(file)])
    pool.close()  # no further work comes; what runs goes on
    return SimpleNamespace(result=asked.get)


def into_a_future(state, write, *, tell=Future.set_exception):
    future, held = Future(), pickle.loads(pickle.dumps(state))

    def run():
        try:
            future.set_result(write(held))
        except OSError as error:
            tell(future, error)

    threading.Thread(target=run, daemon=True).start()
    return future


def in_the_foreground(_, state, write):
    future = Future()
    future.set_result(write(copy.deepcopy(state)))
    return future


def loses_errors(save, state, write):
    def quietly(held):
        with contextlib.suppress(OSError):
            return write(held)

    return save(state, quietly)


NUMBERS_HELD = {"AdamW": 3, "SGD with momentum": 2, "SGD": 1}
BEST = 'max(good, key=lambda place: (place[1], place[0] == "out"))'
REASONS = '"; ".join(f"{folder}, step {step}: {refusal}" for folder, step, refusal in candidates)'
RIGHT_ANSWERS = {
    "c1-bytes": [
        lambda n, optimizer: n * 4 + 2 * n * 4 * (optimizer == "AdamW") + n * 4 * ("momentum" in optimizer),
        lambda n, optimizer: np.zeros((NUMBERS_HELD[optimizer], n), dtype=np.float32).nbytes,
        lambda n, optimizer: 4 * n * (1 + ["SGD", "SGD with momentum", "AdamW"].index(optimizer)),
    ],
    "c1-next-batch": [
        lambda n, B, T, per_epoch: [n // (B * T * per_epoch), n % (B * T * per_epoch) // (B * T)],
        lambda n, B, T, per_epoch: divmod(n / B / T, per_epoch),
        ("divmod(n_done, n_batches)", "np.unravel_index(n_done, (99, n_batches))"),
    ],
    "c2-atomic-write": [
        ("os.replace", "os.rename"),
        ('"wb"', '"wb", buffering=0', "file.flush()", "pass", "os.fsync(file.fileno())", "os.fsync(file)"),
        ("for block in blocks:\n                file.write(block)", "file.writelines(blocks)"),
        ("except BaseException:", "finally:", "        raise\n", ""),
    ],
    "c2-check-sums": [
        ("wrong = []", "wrong = set()", "wrong.append", "wrong.add"),
        ("wrong.append(name)", "wrong.append(path.relative_to(folder))"),
    ],
    "c2-go-on-from": [
        (BEST, 'sorted(good, key=lambda place: (-place[1], place[0] != "out"))[0]'),
        (BEST, "min((p for p in good if p[1] == max(step for _, step in good)), key=lambda p: p[0] != 'out')"),
    ],
    "c2-background": [of_a_pool, into_a_future],
}
MISTAKES = {
    "c1-bytes": {
        "remember": (" * (1 + remembered)", ""),
        "SGD": lambda _, n, optimizer: 12 * n,
        "how many bytes has a float32": ("4 * n_params", "n_params"),
        "AdamW": ("4 * n_params", "2 * n_params"),
    },
    "c1-next-batch": {
        "same epoch": lambda _, n, B, T, per_epoch: (0, n // (B * T)),
        "64 tokens": ("(batch_size * context_length)", "batch_size"),
        "0 tokens": ("divmod(n_done,", "divmod(n_done + 1,"),
        "(epoch, position)": ("divmod(n_done, n_batches)", "n_done"),
        "counted from 0": lambda right, *a: (1 + right(*a)[0], 0),
    },
    "c2-atomic-write": {
        "Under which name": ('path.with_name(path.name + ".unfinished")', "path"),
        "no fsync": ("os.fsync(file.fileno())", "pass"),
        "flush": ("file.flush()", "pass"),
        "still there": ("beside.unlink(missing_ok=True)", "pass"),
        "as if nothing": ("        raise", "        pass"),
        "in memory": lambda right, path, blocks: right(path, [b"".join(blocks)]),
        "without os.replace": (
            "os.replace(beside, path)",
            "path.write_bytes(beside.read_bytes())\n        beside.unlink()",
        ),
        "the same folder": through_another_folder,
        "holds None": lambda *_: None,
    },
    "c2-check-sums": {
        "one bit flipped": lambda *_: [],
        "Path('folder": ("wrong.append(name)", "wrong.append(path)"),
        "a file deleted": ("not path.exists() or", "path.exists() and"),
        "not a crash": ("not path.exists() or ", ""),
        "nothing was": ("path.read_bytes()", "path.read_bytes()[:65536]"),
    },
    "c2-go-on-from": {
        "begin anew": ("if not candidates", "if not good"),
        "newest good": ("(place[1],", "(str(place[1]),"),
        "nearer": ('place[0] == "out"', 'place[0] == "drive"'),
        "expected ('out', 20)": (" if refusal is None]", "]"),
        "reasons": (REASONS, '"no good checkpoint"'),
    },
    "c2-background": {
        "Whose tensors": ("copy.deepcopy(state)", "dict(state)"),
        "twice the bytes": ("copy.deepcopy(state)", "{name: tensor.clone() for name, tensor in state.items()}"),
        "Start a thread": in_the_foreground,
        "a thread's errors": loses_errors,
        "never returned: where do a thread's errors go?": lambda _, *a: into_a_future(*a, tell=lambda *_: None),
        "a method result()": lambda right, *a: right(*a) and "started",
    },
}

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_what_was_listened_to_is_given_back():
    before = os.fsync, os.replace, os.rename
    for answer in (lambda *_: None, exercises.solution("c2-atomic-write")):
        verdict("c2-atomic-write", answer)
    assert (os.fsync, os.replace, os.rename) == before
