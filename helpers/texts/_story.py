"""The course's own story, written for it, which no published model has seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
STORY_FILE = "bring_the_house.txt"


@cache
def story() -> str:
    """Bring the House, the course's short story: its title, then paragraphs, a blank line between them. CC BY 4.0."""
    return (ASSETS / STORY_FILE).read_text(encoding="utf-8")
