"""The check of notebook 06's exercise 6: a save in the background passes, and planted mistakes do not."""

from __future__ import annotations

import contextlib
import copy
import threading
from concurrent.futures import Future, ThreadPoolExecutor

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


RIGHT_ANSWERS = {"c2-background": saved}

MISTAKES = [
    ("c2-background", lambda *a: saved(*a, taken=dict), "Whose tensors"),
    ("c2-background", lambda *a: saved(*a, taken=lambda s: {k: v.clone() for k, v in s.items()}), "twice the bytes"),
    ("c2-background", in_the_foreground, "Start a thread"),
    ("c2-background", loses_errors, "a thread's errors"),
    ("c2-background", lambda *a: saved(*a) and "started", "a method result()"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)
