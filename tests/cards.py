"""What every card must do, and the models that the fed ones are tried with."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from helpers.widgets._card import Card


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


@dataclass
class BreakableModel:
    """A model until its `error` is set, which it then raises."""

    model: Callable[[Tensor], Tensor]
    error: Exception | None = None

    def __call__(self, token_ids: Tensor) -> Tensor:
        if self.error:
            raise self.error
        return self.model(token_ids)
