"""Exercises: a check calls the reader's function on cases and compares it with an oracle made by another method."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from typing import Any

CHECKS: dict[str, Callable[[Callable[..., Any]], None]] = {}
NOT_ATTEMPTED, RIGHT, WRONG = "not attempted yet", "right", "not yet"


class Mistake(AssertionError):
    """What a check found: the case, what was expected, what came, and the thought that leads on."""


def register(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the check called `name`. It gets the reader's function and raises Mistake at the first fault."""

    def keep(function: Callable[..., None]) -> Callable[..., None]:
        if name in CHECKS:
            raise ValueError(f"a check named {name!r} exists already")
        CHECKS[name] = function
        return function

    return keep


def load_exercises() -> None:
    """Import every module of this package, so that each registers its checks: there is one per notebook."""
    import helpers.classroom.exercises as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def check(name: str, answer: Callable[..., Any]) -> None:
    """Try the reader's function and print the verdict: not attempted yet, right, or the first thing that is wrong.

    name    of the exercise, as its cell gives it
    answer  the reader's function; as long as it raises NotImplementedError it counts as not attempted

    ValueError: no exercise of that name.
    """
    print(f"{name}: {verdict(name, answer)}")


def verdict(name: str, answer: Callable[..., Any]) -> str:
    """What `check` prints after the name. It begins with NOT_ATTEMPTED, RIGHT or WRONG."""
    load_exercises()
    if name not in CHECKS:
        raise ValueError(f"no exercise named {name!r}; there are {', '.join(sorted(CHECKS))}")
    try:
        CHECKS[name](answer)
    except NotImplementedError as error:
        if error.args:  # torch raises it too, for a softmax of integers say; a stub's has no message
            return f"{WRONG}. Your function raised NotImplementedError: {error}"
        return f"{NOT_ATTEMPTED}. Fill in the function, then run this cell again."
    except Mistake as mistake:
        return f"{WRONG}. {mistake}"
    except Exception as error:  # whatever the reader's code raises is a finding to show, not a crash of the notebook
        return f"{WRONG}. Your function raised {type(error).__name__}: {error}"
    return f"{RIGHT}."


def one_number(got: Any, case: str) -> float:
    """The answer as a plain number, also from a tensor or array of one element. Anything else is a Mistake."""
    if hasattr(got, "item") and math.prod(getattr(got, "shape", ())) == 1:  # of torch or of numpy
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise Mistake(f"{case}: expected one number, got {got!r}. Does every path of your function return it?")
    return float(got)
