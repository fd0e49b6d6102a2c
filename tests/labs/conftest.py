"""A text of six documents, and a run on it that nothing disturbed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.labs.runs import run


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
