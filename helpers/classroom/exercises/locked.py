"""Ready-made functions that an exercise asks the reader to write: nobody calls them while its check runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from helpers.classroom.exercises.grader import Mistake


@contextmanager
def locked(functions: Sequence[tuple[object, Sequence[str]]], own: str) -> Iterator[None]:
    """While this lasts, calling one of `functions` is a Mistake.

    functions  pairs of a module or class and the names of its functions
    own        what the reader should use instead, for the message
    """

    def refuse(name: str) -> Callable[..., None]:
        def stop(*_args: object, **_kwargs: object) -> None:
            raise Mistake(f"{name} does it all for you; expected your own {own}. What is inside?")

        return stop

    with ExitStack() as stack:
        for owner, names in functions:
            for name in names:
                stack.enter_context(patch.object(owner, name, refuse(name)))
        yield
