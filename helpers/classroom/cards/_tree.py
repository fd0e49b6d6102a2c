"""Sampling one token at a time, with the tree of what could have been; the model answers from the kernel."""

from __future__ import annotations

import asyncio
import html
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets
import torch
from torch import Tensor

from helpers.classroom.cards._card import Card, display_above, next_id
from helpers.classroom.cards._next_token import (
    LINE_TEXT,
    Line,
    Model,
    failure,
    prompt_box,
    prompt_status,
    quickly,
    status,
    weights_version,
)
from helpers.classroom.cards._token_tree import FAVOURITE, Path, Step, TokenTree, draw, expand, key
from helpers.classroom.cards._tree_state import TEMPERATURES, TOP_K, plain, template, tree_state

DEPTH = 3  # levels of the tree that the page carries
PAUSE_S = 0.05  # between an answer and the work on the next one
DRAWN, CHOSEN, REST = "drawn", "your choice", "drawn from the rest"


def sampling_tree(
    model: Model,
    prompt: str = "The captain",
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    n_drawn: int = 3,
    seed: int = 7,
) -> SamplingTree:
    """A card that draws one token at a time and shows, at every step, what else could have come.

    model        a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt       any text; of one longer than the context the end is read, and the card says so
    temperature  in [0, 2], in steps of 0.1
    top_k        1, 2, 3, 5, 10, 50, or None for all tokens
    n_drawn      tokens that are drawn before anyone touches the card, in [0, 3]
    seed         of the card's own random generator

    ValueError: a setting that the card does not have, an empty prompt, or a model over another vocabulary.
    """
    if not any(abs(temperature - t) < 1e-9 for t in TEMPERATURES):
        raise ValueError(f"temperature must be in [0, {TEMPERATURES[-1]:g}] in steps of 0.1, got {temperature!r}")
    if top_k not in TOP_K:
        raise ValueError(f"top_k must be one of {', '.join(map(str, TOP_K))}, got {top_k!r}")
    if n_drawn not in range(DEPTH + 1):
        raise ValueError(f"n_drawn must be a whole number in [0, {DEPTH}], got {n_drawn!r}")
    values = {"temperature": round(10 * temperature), "top_k": TOP_K.index(top_k), "back": 0}
    return SamplingTree(model, prompt, values, n_drawn, seed)


class Ahead(NamedTuple):
    """The next draw, made while the reader looks at the last one.

    of      what it depends on, see `SamplingTree._draw_of`
    before  state of the generator: where the reader does something else, this draw was never made
    reply   what `_step` answers
    """

    of: tuple
    before: Tensor
    reply: dict


class SamplingTree:
    """The card, a line below it for another prompt, and two hidden widgets through which page and kernel talk.

    Displayed more than once, each card goes its own way and all share the line; a question that is asked on one while
    another's waits may get lost, and its card says so.
    """

    def __init__(self, model: Model, prompt: str, values: dict[str, float], n_drawn: int, seed: int) -> None:
        self.model, self.values = model, values
        self.generator = torch.Generator().manual_seed(seed)
        self.tree = TokenTree(model, prompt)
        self.ahead: Ahead | None = None
        self.waiting: asyncio.TimerHandle | None = None  # what is to be made ahead
        self.version = 0
        drawn: list[Step] = []
        for _ in range(n_drawn):
            path = tuple(step[0] for step in drawn)
            drawn.append(self.tree.take(path, self._draw(path, self._settings(values)), DRAWN))
        self.first = self.tree.config(tuple(step[0] for step in drawn), drawn, depth=DEPTH)
        self.box = prompt_box(prompt)
        self.status = ipywidgets.HTML(prompt_status(model, prompt))
        self.question = Line(layout=ipywidgets.Layout(display="none"))
        self.feed = ipywidgets.HTML()
        self.card_ids: list[str] = []  # one for each time that it was displayed: all of them are told
        self.box.observe(self._new_prompt, names="value")
        self.question.observe(self._asked, names="value")

    def __repr__(self) -> str:
        return self.card().text

    def card(self) -> Card:
        """The card in its first state."""
        state = tree_state(self.values, self.first)
        return Card(
            kind="tree",
            title="One token at a time, and what could have been",
            template=template(self.values, self.first),
            values=self.values,
            config=self.first,
            compute=tree_state,
            text=f"sampling tree: {state['summary']}",
            still="Run this cell to draw further tokens from the model.",
            plain=plain(state),
        )

    def _ipython_display_(self) -> None:
        card_id = next_id("tree")
        self.card_ids.append(card_id)
        self.question.add_class(f"cw-ask-{card_id}")
        if self.first["version"] != self.version:  # another prompt was typed since
            with quickly(self.model):
                self.first = self.tree.config(depth=DEPTH, version=self.version)
        parts = [self.box, self.status, self.question, self.feed]
        display_above(self.card(), card_id, parts, "cw-prompt", LINE_TEXT)

    def answer(self, question: dict) -> dict:
        """What the page is told when it asks for a step.

        question  n: its number; version of the prompt; path: ids; do: draw, favourite, rest or take; id for take;
                  temperature and top_k for the draws
        return    n, the step to add, the node it leads to, the greedy path, an error or None, ms: the kernel's time
        """
        begin = time.perf_counter()
        reply: dict = {"n": question["n"], "error": None}
        try:
            if question["version"] != self.version:  # the page was loaded again and shows the first prompt
                reply["reset"] = self.tree.config(version=self.version)
            else:
                with quickly(self.model):
                    reply |= self._step(tuple(question["path"]), question)
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            reply["error"] = failure(error)
        return reply | {"ms": round(1000 * (time.perf_counter() - begin), 2)}

    def _step(self, path: Path, question: dict) -> dict:
        ahead, self.ahead = self.ahead, None
        if ahead and ahead.of == self._draw_of(path, question):
            return ahead.reply
        if ahead:
            self.generator.set_state(ahead.before)
        return self._work_out(path, question)

    def _work_out(self, path: Path, question: dict) -> dict:
        how = {"draw": DRAWN, "favourite": FAVOURITE, "rest": REST, "take": CHOSEN}[question["do"]]
        if how in (DRAWN, REST):
            token_id = self._draw(path, question, rest=how == REST)
        else:
            token_id = int(self.tree.logits(path).argmax()) if how == FAVOURITE else question["id"]
        longer = (*path, token_id)
        return {
            "add": self.tree.take(path, token_id, how),
            "key": key(longer),
            "node": expand(self.tree.logits(longer)),
            "greedy": [step[1:3] for step in self.tree.greedy_path(len(longer))],
        }

    def _draw(self, path: Path, settings: dict, rest: bool = False) -> int:
        logits = self.tree.logits(path)
        return draw(logits, settings["temperature"], settings["top_k"], self.generator, rest=rest)

    @staticmethod
    def _settings(values: dict[str, float]) -> dict:
        return {"temperature": TEMPERATURES[int(values["temperature"])], "top_k": TOP_K[int(values["top_k"])]}

    def _asked(self, change: dict) -> None:
        self._forget_later()
        question = json.loads(change["new"])
        reply = self.answer(question)
        self._tell(reply)
        if "add" in reply:
            path = tuple(map(int, reply["key"].split(",")))
            self._later(lambda: self._look_ahead(path, question))

    def _later(self, work: Callable[[], None]) -> None:
        """Once the answer is on the page, whose drawing needs the processor; at once where no kernel's loop runs."""
        try:
            self.waiting = asyncio.get_running_loop().call_later(PAUSE_S, work)
        except RuntimeError:
            work()

    def _forget_later(self) -> None:
        if self.waiting:
            self.waiting.cancel()
            self.waiting = None

    def _look_ahead(self, path: Path, question: dict) -> None:
        """While the reader looks: the greedy path of the next step, and after a draw the next draw."""
        before = self.generator.get_state()
        try:
            with quickly(self.model):
                self.tree.greedy_path(len(path) + 1)
                if question["do"] == "draw":
                    self.ahead = Ahead(self._draw_of(path, question), before, self._work_out(path, question))
        except Exception:  # it comes again, and onto the card, when the reader asks for that step
            self.generator.set_state(before)

    def _draw_of(self, path: Path, question: dict) -> tuple:
        settings = (question[name] for name in ("version", "do", "temperature", "top_k"))
        return (path, *settings, weights_version(self.model))

    def _new_prompt(self, change: dict) -> None:
        self._forget_later()
        try:
            with quickly(self.model):
                tree = TokenTree(self.model, change["new"])
                self._tell({"reset": tree.config(version=self.version + 1), "error": None})
            self.tree, self.version = tree, self.version + 1
            self.status.value = prompt_status(self.model, change["new"])
        except Exception as error:  # as in `answer`
            self._tell({"error": failure(error)})
            self.status.value = status(failure(error))

    def _tell(self, message: dict) -> None:
        text = html.escape(json.dumps(message, ensure_ascii=False, separators=(",", ":")))
        self.feed.value = f'<div data-tree-feed="{" ".join(self.card_ids)}" data-message="{text}" hidden></div>'
