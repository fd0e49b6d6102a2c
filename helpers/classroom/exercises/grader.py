"""Exercises: a check calls the reader's function on cases and compares it with an oracle made by another method."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from helpers.language import spoken

CHECKS: dict[str, Callable[[Callable[..., Any]], None]] = {}
NOT_ATTEMPTED, RIGHT, WRONG = "not attempted yet", "right", "not yet"
CLOSE = 1e-5  # relative distance of a right answer, also from one that was computed in float32
SHOWN = 300  # characters of what came in a message
MOST = 1_000_000  # items of what came
IN_FORCE: list[tuple] = []  # the arguments of each `locked` that lasts, for an answer that runs in another process


class Mistake(AssertionError):
    """What a check found: the case, what was expected, what came, and the thought that leads on."""


def register(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the check called `name`. It gets the reader's function and raises Mistake at the first one."""

    def keep(function: Callable[..., None]) -> Callable[..., None]:
        if name in CHECKS:
            raise ValueError(f"a check named {name!r} exists already")
        CHECKS[name] = function
        return function

    return keep


def check(name: str, answer: Callable[..., Any]) -> None:
    """Try the reader's function and print the verdict: not attempted yet, right, or the first thing that is wrong.

    name    of the exercise, as its cell gives it
    answer  the reader's function; as long as it raises NotImplementedError it counts as not attempted

    ValueError: no exercise of that name.
    """
    print(f"{name}: {spoken(verdict(name, answer))}")


def verdict(name: str, answer: Callable[..., Any]) -> str:
    """What `check` prints after the name. It begins with NOT_ATTEMPTED, RIGHT or WRONG."""
    if name not in CHECKS:
        raise ValueError(f"no exercise named {name!r}; there are {', '.join(sorted(CHECKS))}")
    raised: list[Exception] = []  # by the reader's function, and not by the check that looks at what came

    def listened(*arguments: Any) -> Any:
        try:
            return answer(*arguments)
        except Exception as error:
            raised.append(error)
            raise

    try:
        CHECKS[name](listened)
    except Mistake as mistake:
        return f"{WRONG}. {mistake}"
    except Exception as error:  # whatever the reader's code raises is a finding to show, not a crash of the notebook
        if _is_stub(error):
            return f"{NOT_ATTEMPTED}. Fill in the function, then run this cell again."
        blamed = "Your function raised" if error in raised else "The check cannot read what your function returned:"
        return f"{WRONG}. {blamed} {cut(f'{type(error).__name__}: {error}')}"
    return f"{RIGHT}."


def _is_stub(error: Exception) -> bool:
    """A stub's exception has no message; torch raises NotImplementedError too, for a softmax of integers say."""
    return isinstance(error, NotImplementedError) and not error.args


# what checks share: first what came is put into Python's own types, then it is compared


def plain(value: Any) -> Any:
    """A value in Python's own types: what torch and numpy hold becomes a number or nested lists, and so do tuples.

    ValueError: more than MOST items, which an expanded tensor or a range has without memory.
    """
    many = isinstance(value, tuple | list | range)
    if (n := len(value) if many else math.prod(getattr(value, "shape", ()))) > MOST:
        raise ValueError(f"expected at most {MOST:,} items, got {n:,}: which of them are asked for?")
    if hasattr(value, "tolist"):  # of torch or of numpy
        return (value.detach() if hasattr(value, "detach") else value).tolist()
    if many:
        return [plain(item) for item in value]
    return float(value) if isinstance(value, Fraction | Decimal) else value


def typed(value: Any) -> str:
    """A value as a message shows it, with the name of its type."""
    return f"{cut(' '.join(repr(value).split()))} ({type(value).__name__})"


def cut(text: str, most: int = SHOWN) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= most else text[:most] + "..."


def apart(expected: Any, got: Any, digits: str) -> tuple[str, str]:
    """Two numbers, or two lists of them, written with so many digits that they differ: `digits` if those do."""

    def written(value: Any, digits: str) -> str:
        return f"[{', '.join(written(x, digits) for x in value)}]" if isinstance(value, list) else format(value, digits)

    pairs = [(written(expected, way), written(got, way)) for way in (digits, *(f".{n}g" for n in range(5, 18)))]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])


def _called(answer: Callable[..., Any], arguments: tuple) -> tuple[Any, Exception | None]:
    """What the reader's function returns, and what it raises; a Mistake passes, and so does a stub's error."""
    try:
        return answer(*arguments), None
    except Exception as error:
        if isinstance(error, Mistake) or _is_stub(error):
            raise
        return None, error


def expect(holds: object, message: str) -> None:
    """A Mistake that says `message`, unless `holds`."""
    if not holds:
        raise Mistake(message)


class Returned:
    """What came, or a part of it, with its case. Each method wants something of it, else it raises a Mistake.

    says  of all methods: the thought that leads on
    """

    def __init__(self, value: Any, case: str) -> None:
        self.value, self.case = value, case

    def one_number(self) -> float:
        """As a plain number, also from a tensor or array of one element."""
        got, case = self.value, self.case
        number = plain(got.item() if math.prod(getattr(got, "shape", (0,))) == 1 else got)
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        expect(is_number, f"{case}: expected one number, got {typed(got)}. Does every path of your function return it?")
        return float(number)

    def number(
        self,
        expected: float,
        says: str | Callable[[float], str],
        *,
        slips: Mapping[str, float] | None = None,
        unit: str = "",
        digits: str = ".4f",
        rel_tol: float = CLOSE,
        abs_tol: float = 1e-9,
    ) -> None:
        """It is one number, and the expected one.

        says   or how to find it from the number that came
        slips  thoughts that come before it -> the number that this mistake gives in the case at hand
        """
        case, number = self.case, self.one_number()
        if math.isclose(number, expected, rel_tol=rel_tol, abs_tol=abs_tol):
            return
        known = (thought for thought, slip in (slips or {}).items() if math.isclose(number, slip, rel_tol=rel_tol))
        thought = next(known, None) or (says if isinstance(says, str) else says(number))
        wanted, came = apart(expected, number, digits)
        raise Mistake(f"{case}: expected {wanted}{unit}, got {came}. {thought}")

    def items(self, n: int, of: str, says: str = "Does your function return all of them?") -> list:
        """The n items of a list, tuple, array or tensor in Python's own types."""
        got, case, items = self.value, self.case, plain(self.value)
        expect(isinstance(items, list), f"{case}: expected {n} {of}, got {typed(got)}. {says}")
        expect(len(items) == n, f"{case}: expected {n} {of}, got {len(items)} of them. {says}")
        return items

    def tensor(self, shape: tuple[int, ...], says: str) -> Tensor:
        """In float64: a tensor of this shape, or an array or lists of the same."""
        got, case = self.value, self.case
        try:
            found = torch.tensor(plain(got), dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise Mistake(f"{case}: expected a tensor {shape}, got {typed(got)}. {says}") from None
        expect(found.shape == shape, f"{case}: expected a tensor {shape}, got {tuple(found.shape)}. {says}")
        return found


def ask(answer: Callable[..., Any], case: str, *arguments: Any) -> Returned:
    """What the reader's function returns; where it fails, or returns nothing, a Mistake that names the case."""
    got, error = _called(answer, arguments)
    if error is not None:
        said = f"{case}: your function raised {type(error).__name__}: {error}"
        raise Mistake(cut(said, len(case) + SHOWN)) from error
    expect(got is not None, f"{case}: your function returned None: is there a `return`?")
    return Returned(got, case)


def refused(answer: Callable[..., Any], case: str, says: str, *arguments: Any) -> str:
    """The message of the ValueError with which the reader's function refuses; a Mistake if it does not."""
    got, error = _called(answer, arguments)
    if isinstance(error, ValueError):
        return str(error)
    came = cut(f"{type(error).__name__}: {error}" if error is not None else repr(got))
    raise Mistake(f"{case}: expected a ValueError, got {came}. {says}")


def utf8_length(text: str) -> int:
    """Bytes of a text, counted from its code points."""
    return sum(1 + (c > "\x7f") + (c > "\u07ff") + (c > "\uffff") for c in text)


@contextmanager
def locked(functions: Sequence[tuple[object, Sequence[str]]], own: str) -> Iterator[None]:
    """While this lasts, calling a ready-made function that the exercise asks the reader to write is a Mistake.

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
        IN_FORCE.append((functions, own))
        stack.callback(IN_FORCE.pop)
        yield
