"""Exercises: a check calls the reader's function on cases and compares it with an oracle made by another method."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

CHECKS: dict[str, Callable[[Callable[..., Any]], None]] = {}


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
    """Import every module of this package, so that each registers its checks: one module per notebook, found by itself."""
    import helpers.checks as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def check(name: str, answer: Callable[..., Any]) -> bool:
    """Try the reader's function and print the verdict: not attempted yet, right, or the first thing that is wrong.

    name    of the exercise, as its cell gives it
    answer  the reader's function; as long as it raises NotImplementedError it counts as not attempted
    return  whether it passed

    ValueError: no exercise of that name.
    """
    load_exercises()
    if name not in CHECKS:
        raise ValueError(f"no exercise named {name!r}; there are {', '.join(sorted(CHECKS))}")
    try:
        CHECKS[name](answer)
    except NotImplementedError:
        print(f"{name}: not attempted yet. Fill in the function above, then run both cells.")
        return False
    except Mistake as mistake:
        print(f"{name}: not yet. {mistake}")
        return False
    except Exception as error:  # whatever the reader's code raises is a finding to show, not a crash of the notebook
        print(f"{name}: your function raised {type(error).__name__}: {error}")
        return False
    print(f"{name}: right.")
    return True
