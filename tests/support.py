"""What tests of several rooms share: refusals, alone or as a table; models that hide no mistake; damage; a pickle."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch


def refused(says: str, call: Callable, *given: Any, error: type[BaseException] = ValueError, **settings: Any) -> None:
    """`call` of what is given raises `error`, whose message `says` finds; "" for any."""
    with pytest.raises(error, match=says or None):
        call(*given, **settings)


def refusals(*cases: tuple) -> Callable:
    """A test, to be bound to a name that pytest collects: in each case (what is called, with what..., what is said)."""

    @pytest.mark.parametrize("case", cases, ids=[case[-1][:40] for case in cases])
    def test(case: tuple) -> None:
        call, *given, says = case
        refused(says, call, *given)

    return test


def refusals_of(call: Callable, *cases: tuple) -> Callable:
    """Such a test of one `call`: in each case (with what..., what is said)."""
    return refusals(*((call, *case) for case in cases))


def refusals_by_field(build: Callable, **wrong: list) -> Callable:
    """Such a test of settings: each wrong value of a field is refused by a message that names the field."""
    cases = [(name, value, name) for name, values in wrong.items() for value in values]
    return refusals_of(lambda name, value: build(**{name: value}), *cases)


def lively(model: torch.nn.Module, by: float = 0.1) -> torch.nn.Module:
    """`model`, for evaluation, with noise on every parameter: biases of zero and gains of one would hide a swap."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn_like(parameter)
    return model.eval()


def faulty(load: Callable[[Path], Any], by: float) -> Callable[[Path], Any]:
    """`load`, whose models have one bias of their last layer wrong."""

    def wrong(folder: Path) -> Any:
        model = load(folder)
        with torch.no_grad():
            model.blocks[-1].attention.qkv.bias[-28:] += by
        return model

    return wrong


class Payload:
    """Unpickling it creates a file: what a stranger's pickle could do with anything of yours."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return open, (str(self.canary), "w")


def flip(path: Path, at: int = -1, bit: int = 1) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def program(path: Path, script: str) -> Path:
    """A shell script in the place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@contextmanager
def full_disk(after: int = 100) -> Iterator[None]:
    """A disk that takes this many bytes of each file, and no more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
