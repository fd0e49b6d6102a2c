"""What every card must do, and the models that the fed ones are tried with."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from helpers.classroom.cards._card import Card


def assert_carries_its_first_state(card: Card) -> str:
    """The page shows what Python computes for the first values, and every slider has a label; returns the page."""
    page = card.markup("x-1")
    for key, value in card.compute(card.values, card.config).items():
        part, _, attribute = key.partition("@")
        (element,) = re.findall(rf'<[^<>]*data-key="{part}"[^<>]*>[^<]*', page)
        if not attribute:
            assert html.unescape(element.partition(">")[2]) == value
        elif value is None:
            assert f" {attribute}=" not in element
        else:
            assert f'{attribute}="{html.escape(value)}"' in element
    for name in re.findall(r'<input[^>]* id="([^"]+)"', page):
        assert f'for="{name}"' in page, "every slider has a visible label"
    return page


def sanitised(page: str) -> str:
    """The page as a front end shows it that takes scripts, styles, controls and their attributes away."""
    kept = re.sub(
        r"<style>.*?</style>|<script>.*?</script>|<(input|i)\b[^>]*>|<button.*?</button>", "", page, flags=re.S
    )
    return re.sub(r' (?:style|class|data-[a-z-]+)="[^"]*"', "", kept)


@dataclass
class BreakableModel:
    """A model until its `error` is set, which it then raises."""

    model: Callable[[Tensor], Tensor]
    error: Exception | None = None

    def __call__(self, token_ids: Tensor) -> Tensor:
        if self.error:
            raise self.error
        return self.model(token_ids)
