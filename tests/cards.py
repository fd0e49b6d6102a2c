"""Cards without a browser: their scripts in V8, what each must do, and the models that the fed ones are tried with."""

import atexit
import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from py_mini_racer import MiniRacer
from torch import Tensor

from helpers.classroom import cards

FOLDER = Path(cards.__file__).parent
STATES = "(settings, config) => settings.map((values) => compute(values, config))"
QUESTION = {"n": 1, "version": 0, "path": [], "do": "draw", "id": None, "temperature": 1.0, "top_k": None}
SCORES = 3 * torch.randn(7, 50257, generator=torch.Generator().manual_seed(5))


class Script:
    """The functions of runtime.js and of one card's script.

    kind  the script's name without .js; "" for runtime.js alone
    """

    def __init__(self, kind: str) -> None:
        self.v8 = MiniRacer()
        atexit.register(self.v8.close)  # one left open can keep Python from ending
        shared = ["log_slider"] if kind in ("cost", "size") else []
        for name in ["runtime", *shared, kind] if kind else ["runtime"]:
            self.v8.eval((FOLDER / f"{name}.js").read_text(encoding="utf-8"))

    def call(self, function: str, *arguments: object) -> object:
        """What the function (a name, or an expression) returns for JSON; an infinite number or NaN comes as None."""
        given = ",".join(json.dumps(argument) for argument in arguments)
        said = self.v8.eval(f"JSON.stringify(({function})({given}))")
        return None if said is None else json.loads(said)

    def states(self, settings: list[dict], config: object) -> list[dict]:
        """`compute`'s texts and attributes for each setting of the inputs."""
        return self.call(STATES, settings, config)


@cache
def script(kind: str = "") -> Script:
    """One engine per script for all tests: its functions keep nothing between calls."""
    return Script(kind)


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


CARDS = {
    "cost": cards.cost,
    "die": cards.perplexity_die,
    "predictors": cards.unsure_or_wrong,
    "calculator": lambda: cards.cost_calculator(2.5e9, 12_525, 8.5, watts=400),
    "calculator as it is": cards.cost_calculator,
    "memory": lambda: cards.memory_calculator("opt-125m"),
    "memory as it is": cards.memory_calculator,
    "sampling": lambda: cards.sampling(torch.linspace(3, -3, 60), [f"'<b>{i}'" for i in range(60)], prompt="It was"),
    "grid": cards.training_grid,
    "size": cards.best_size,
    "stepper": lambda: cards.loss_stepper(by_last_token).card(),
    "tree": lambda: cards.sampling_tree(by_last_token).card(),
}


@dataclass
class BreakableModel:
    """A model until its `error` is set, which it then raises."""

    model: Callable[[Tensor], Tensor]
    error: Exception | None = None

    def __call__(self, token_ids: Tensor) -> Tensor:
        if self.error:
            raise self.error
        return self.model(token_ids)
