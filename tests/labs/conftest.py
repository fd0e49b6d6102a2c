"""A text of six documents, a run on it that nothing disturbed, copies of that, and the command as a test calls it."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.labs.runs import Done, Kill, at_record, kill, run


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    words = ["the", "house", "on", "hill", "was", "quiet", "when", "rain", "fell", "over", "garden", "walls", "again"]
    draw = random.Random(3)
    documents = ["".join(" " + draw.choice(words) for _ in range(90)) for _ in range(6)]
    path = tmp_path_factory.mktemp("text") / "six.txt"
    path.write_text("\f".join(documents), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def whole(text, tmp_path_factory) -> Path:
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(text, out) == 0
    return out


@pytest.fixture
def out(whole, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def train(text, capsys) -> Callable[..., Done]:
    """The command on the text: train(folder, *options, change=settings, after=a watcher, kill_at=the n-th record)."""

    def train(out: Path, *options: object, change: tuple = (), after=None, kill_at: int = 0, on: Path = text) -> Done:
        capsys.readouterr()
        try:
            watch = at_record(kill_at, kill) if kill_at else after
            status = run(on, out, *map(str, options), change=change, after=watch)
        except Kill:
            status = -9
        assert (status == -9) == bool(kill_at)
        return Done(status, *capsys.readouterr())

    return train
