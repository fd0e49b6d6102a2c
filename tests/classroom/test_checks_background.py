"""The check of notebook 06's exercise 6: a save in the background passes, and planted mistakes do not."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import torch

from tests import exercises


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


class Kept(threading.Thread):
    """A thread whose result or error is kept."""

    def run(self):
        self.kept = self.error = None
        try:
            self.kept = self._target(*self._args)
        except Exception as error:
            self.error = error

    def result(self):
        self.join()
        if self.error is not None:
            raise self.error
        return self.kept


def in_a_thread(state, write):
    thread = Kept(target=write, args=(copied_by_identity(state),))
    thread.start()
    return thread


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


RIGHT_ANSWERS = {"c2-background": [saved, in_a_thread, of_a_pool, into_a_future]}

MISTAKES = [
    ("c2-background", lambda *a: saved(*a, taken=dict), "Whose tensors"),
    ("c2-background", lambda *a: saved(*a, taken=lambda s: {k: v.clone() for k, v in s.items()}), "twice the bytes"),
    ("c2-background", in_the_foreground, "Start a thread"),
    ("c2-background", loses_errors, "a thread's errors"),
    ("c2-background", never_resolved, "never returned: where do a thread's errors go?"),
    ("c2-background", lambda *a: saved(*a) and "started", "a method result()"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
