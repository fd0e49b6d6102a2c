"""One answer judged: the check runs here, the answer in a process of its own, and calls pass between the two.

What the answer can do in its process changes no verdict: that is found outside, from the values that come back. Two
checks watch files and threads while the answer runs, and must run beside it: IN_THE_CAGE. A third believes a model that
comes back how it was called: ON_TRUST. These an answer that sets out to do so can forge, which the CSV says.
"""

import ast
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import torch

from helpers import language
from helpers.classroom import NOT_ATTEMPTED, RIGHT, WRONG, Mistake, exercises, verdict
from helpers.language import t
from tools.grade import cage, wire
from tools.grade.returned import Answer, is_harmless, parsed, tree

IN_THE_CAGE = {"c2-atomic-write", "c2-background"}
ON_TRUST = IN_THE_CAGE | {"t2-accumulate"}
STOPPED = t("stopped")
TOO_LONG = t("It took too long: is there a loop that never ends?")
ENDED = t("Its process ended: sys.exit, out of memory, or killed")
MAX_MESSAGE = 2**26  # bytes
VERDICTS = (NOT_ATTEMPTED, RIGHT, WRONG, STOPPED)


class Stopped(BaseException):
    """The answer's process ended or had to be ended; no check takes it for an error of the answer's."""


def judge_and_tell(line: Connection, answer: Answer, own: Path, empty: list[Path], seconds: int) -> None:
    """Say the number of the answer's process, so that somebody may end it, then the verdict and what to say about it.

    To be called in a process of its own, which it changes. The verdict is one of VERDICTS, the rest is in the
    language of the notebook.

    own      an empty folder, in which check and answer work
    empty    folders that they find empty
    seconds  for everything
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who grades has stopped: no judge has anything to say then
    try:
        said = _judged(answer, own, empty, seconds, lambda number: line.send_bytes(json.dumps(number).encode()))
    except Exception as error:  # of ours
        said = STOPPED, f"The judge failed: {type(error).__name__}: {error}"
    with contextlib.suppress(BrokenPipeError):  # who grades was killed, and nobody listens any more
        line.send_bytes(json.dumps(said).encode())


def _judged(answer: Answer, own: Path, empty: list[Path], seconds: int, tell: Callable) -> tuple[str, str]:
    torch.set_num_threads(1)
    end = time.monotonic() + seconds
    cage.enter(own, empty)
    here, there = Pipe()
    if not (child := os.fork()):
        _answer(answer, there, seconds)
    there.close()
    tell(child)
    cage.limit_memory()  # what comes back may be small to send and large to hold
    try:
        said = _said(answer, _Asked(here, end))
    except Stopped as stopped:
        said = f"{STOPPED}. {stopped}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    kind = next(kind for kind in VERDICTS if said.startswith(kind))
    language.choose(answer.language)
    return kind, language.spoken(said).removeprefix(language.spoken(kind)).lstrip(". ")


def _said(answer: Answer, asked: "_Asked") -> str:
    kind, value = asked.receive()
    if kind == "raised":
        told = exercises.grader.cut(f"{value[0]}: {value[2]}")
        return f"{WRONG}. " + t("The cell itself fails: {error}", error=told)
    if answer.exercise.name in IN_THE_CAGE:
        kind, value = asked.receive()
        return value if isinstance(value, str) and value.startswith(VERDICTS[:3]) else f"{STOPPED}. {ENDED}"
    return verdict(answer.exercise.name, asked.call)


class _Asked:
    """The answer, as the check calls it: each call goes into the cage and comes back."""

    def __init__(self, line: Connection, end: float) -> None:
        self.line, self.end = line, end

    def call(self, *arguments: Any) -> Any:
        callbacks: list[Callable] = []
        request = list(exercises.grader.IN_FORCE), arguments
        self.line.send_bytes(wire.pack(request, out=False, callbacks=callbacks))
        while True:
            kind, value = self.receive()
            if kind == "call back":
                self.line.send_bytes(wire.pack(_outcome(callbacks[value[0]], value[1]), out=False))
                continue
            if kind == "raised":
                raise wire.same_error(*value, Mistake)
            returned, changed = value
            for here, there in zip(arguments, changed, strict=True):
                wire.put_back(here, there)
            return returned

    def receive(self) -> tuple[str, Any]:
        """The next message. Stopped: none came in time, the process ended, or it is nothing that may come out."""
        if not self.line.poll(max(0.0, self.end - time.monotonic())):
            raise Stopped(TOO_LONG)
        try:
            message = self.line.recv_bytes(MAX_MESSAGE)
        except (EOFError, OSError):
            raise Stopped(ENDED) from None
        try:
            kind, value = wire.unpack(message, out=True)
            return str(kind), value
        except Exception as error:  # a stranger made it
            told = exercises.grader.cut(f"{type(error).__name__}: {error}")
            raise Stopped(t("What came back cannot be read: {error}", error=told)) from None


def _outcome(function: Callable, arguments: tuple) -> tuple[str, Any]:
    try:
        return "returned", function(*arguments)
    except Exception as error:  # of the caller's own
        return "raised", wire.told(error)


# in the cage


def _answer(answer: Answer, line: Connection, seconds: int) -> None:
    """Run the cell, then be called until nobody calls; never return."""
    try:
        outcome, function = ("returned", None), None
        try:
            cage.lock(seconds, line.fileno())
            function = _function(answer)
        except BaseException as error:
            outcome = "raised", wire.told(error)
        line.send_bytes(wire.pack(outcome, out=True))
        if answer.exercise.name in IN_THE_CAGE:
            line.send_bytes(wire.pack(("verdict", verdict(answer.exercise.name, function)), out=True))
        while True:
            _serve(function, line)
    finally:
        os._exit(0)


def _function(answer: Answer) -> Callable:
    """What the cell defines, whatever else in it fails: a student's own tests use what is not here."""
    names: dict[str, Any] = {"__name__": "__main__", "torch": torch}
    for node in (node for source in answer.before for node in tree(source).body):
        with contextlib.suppress(Exception):  # what of it is missed is missed below
            if is_harmless(node):
                exec(compile(ast.Module([node], []), "<notebook>", "exec"), names)
    body = parsed(answer.cell).body
    if answer.function in (getattr(node, "name", "") for node in body):
        names.pop(answer.function, None)  # another cell's
    names["check"] = lambda *_arguments: None
    failed = None
    for node in body:
        try:
            exec(compile(ast.Module([node], []), f"<{answer.exercise.name}>", "exec"), names)
        except Exception as error:
            failed = failed or error
    if answer.function not in names:
        raise failed or NameError(f"no function {answer.function}")
    return names[answer.function]


def _serve(function: Callable, line: Connection) -> None:
    def call_back(number: int, arguments: tuple) -> Any:
        line.send_bytes(wire.pack(("call back", (number, arguments)), out=True))
        kind, value = wire.unpack(line.recv_bytes(), out=False)
        if kind == "raised":
            raise wire.same_error(*value, Mistake)
        return value

    locks, arguments = wire.unpack(line.recv_bytes(), out=False, call_back=call_back)
    try:
        with contextlib.ExitStack() as stack:
            for functions, own in locks:
                stack.enter_context(exercises.grader.locked(functions, own))
            returned = function(*arguments)
        message = wire.pack(("returned", (returned, list(arguments))), out=True)
    except BaseException as error:
        message = wire.pack(("raised", wire.told(error)), out=True)
    line.send_bytes(message)
