"""What every card must do, without a browser, and the models that the fed ones are tried with."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.classroom import cards
from tests.classroom.scripts import script

QUESTION = {"n": 1, "version": 0, "path": [], "do": "draw", "id": None, "temperature": 1.0, "top_k": None}
SCORES = 3 * torch.randn(7, 50257, generator=torch.Generator().manual_seed(5))


def by_last_token(token_ids: Tensor) -> Tensor:
    """A model of 50,257 scores that depend on the last token only."""
    return SCORES[token_ids % 7]


def told(card: object) -> dict:
    """What the kernel has told the page of a card that it feeds."""
    return json.loads(html.unescape(re.search(r'data-config="([^"]*)"', card.feed.value)[1]))


def drawn(tree: object, n: int) -> dict:
    """A sampling tree's numbers after n draws, as its page keeps them."""
    config = tree.card().config
    for i in range(n):
        reply = tree.answer(QUESTION | {"n": i, "path": [step[0] for step in config["path"]]})
        config["nodes"][reply["key"]] = reply["node"]
        config |= {"path": [*config["path"], reply["add"]], "greedy": reply["greedy"]}
    return config


def first_view(card: cards.Card) -> str:
    """The body that the card's script makes at its start."""
    return script(card.kind).call("view", "x-1", card.values, card.config)


def first_positions(card: cards.Card) -> dict[str, float]:
    """What the inputs of that body say."""
    page = first_view(card)
    inputs = re.findall(r'<input [^>]*data-in="([^"]+)"[^>]* value="([^"]+)"', page)
    menus = re.findall(r'<select [^>]*data-in="([^"]+)".*?<option value="(\d+)" selected>', page)
    return {name: float(value) for name, value in inputs + menus}


def assert_draws_itself(card: cards.Card) -> str:
    """The script finds an element for each text that it writes, and every control has a label; returns the body."""
    page = first_view(card)
    keys = set(re.findall(r'data-key="([^"]+)"', page)) | {"summary"}
    (state,) = script(card.kind).states([first_positions(card)], card.config)
    assert {key.partition("@")[0] for key in state} == keys, "each key has its element, and each element its text"
    for name in re.findall(r'<(?:input|select) [^>]*id="([^"]+)"', page):
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
