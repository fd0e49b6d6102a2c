"""Sampling one token at a time, with the tree of what could have been; the model answers from the kernel."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets
import torch
from torch import Tensor

from helpers.classroom.cards._card import Card
from helpers.classroom.cards._kernel import KernelCard, Line, Model, failure, line, quickly, weights_version
from helpers.classroom.cards._token_tree import TEMPERATURES, TOP_1, TOP_KS, Path, Step, TokenTree, draw, expand, key

DEPTH = 3  # levels of the tree that the page carries
PAUSE_S = 0.05  # between an answer and the work on the next one
DRAWN, CHOSEN, REST = "drawn", "your choice", "drawn from the rest"


def sampling_tree(
    model: Model,
    prompt: str = "The captain",
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    n_drawn: int = 0,
    seed: int = 7,
) -> SamplingTree:
    """A card that draws one token at a time and shows, at every step, what else could have come.

    model        a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt       any text; of one longer than the context the end is read, and the card says so
    temperature  in [0, 2], in steps of 0.1
    top_k        1, 2, 3, 5, 10, 50, or None for all tokens
    n_drawn      tokens that are drawn before anyone touches the card, in [0, 3]; 0: the reader makes the first draw
    seed         of the card's own random generator

    ValueError: a setting that the card does not have, an empty prompt, or a model over another vocabulary.
    """
    if not any(abs(temperature - t) < 1e-9 for t in TEMPERATURES):
        raise ValueError(f"temperature must be in [0, {TEMPERATURES[-1]:g}] in steps of 0.1, got {temperature!r}")
    if top_k not in TOP_KS:
        raise ValueError(f"top_k must be one of {', '.join(map(str, TOP_KS))}, got {top_k!r}")
    if n_drawn not in range(DEPTH + 1):
        raise ValueError(f"n_drawn must be a whole number in [0, {DEPTH}], got {n_drawn!r}")
    return SamplingTree(model, prompt, {"temperature": temperature, "top_k": top_k}, n_drawn, seed)


def _branches(node: list) -> list[tuple[str, str]]:
    """The highest tokens with their probabilities at temperature 1."""
    log_sum = node[3][TEMPERATURES.index(1.0) - 1]
    return [(name, f"{100 * math.exp(-d - log_sum):.1f} %") for name, d in zip(node[1], [0.0, *node[2]], strict=False)]


class Ahead(NamedTuple):
    """The next draw, made while the reader looks at the last one.

    of      what it depends on, see `SamplingTree._draw_of`
    before  state of the generator: where the reader does something else, this draw was never made
    reply   what `_step` answers
    """

    of: tuple
    before: Tensor
    reply: dict


class SamplingTree(KernelCard):
    """The card, a line below it for another prompt, and a hidden line in which the page asks for a step.

    Displayed more than once, each card goes its own way and all share the lines; a question that is asked on one while
    another's waits may get lost, and its card says so.
    """

    def __init__(self, model: Model, prompt: str, settings: dict, n_drawn: int, seed: int) -> None:
        super().__init__(model, [line("prompt", prompt)])
        self.settings, self.generator = settings, torch.Generator().manual_seed(seed)
        self.tree, self.version = TokenTree(model, prompt), 0
        self.ahead: Ahead | None = None
        self.waiting: asyncio.TimerHandle | None = None  # what is to be made ahead
        drawn: list[Step] = []
        for _ in range(n_drawn):
            path = tuple(step[0] for step in drawn)
            drawn.append(self.tree.take(path, draw(self.tree.logits(path), settings, self.generator), DRAWN))
        self.first = self.tree.config(drawn, depth=DEPTH)
        self.question = Line(layout=ipywidgets.Layout(display="none"))
        self.question.add_class("cw-ask")
        self.question.observe(self._asked, names="value")
        self.parts.append(self.question)

    def card(self) -> Card:
        if self.first["version"] != self.version:  # another prompt was typed since
            with quickly(self.model):
                self.first = self.tree.config(depth=DEPTH, version=self.version)
        steps, nodes = self.first["path"], self.first["nodes"]
        best = [nodes[key(step[0] for step in steps[:n])] for n in range(len(steps) + 1)]
        tops = [_branches(node)[0] for node in best]
        taken = [(step[1], f"{100 * math.exp(step[2]):.1f} %") for step in steps]
        text = "".join(step[1][1:-1] for step in steps)
        p = math.exp(sum(step[2] for step in steps))
        came = f" came “{text}”, with probability {p:.1e}; next," if steps else ""
        drawn = [
            ("step", "drawn", "its probability", "top-1 token", "its probability"),
            *((f"{n}", *one, *other) for n, (one, other) in enumerate(zip(taken, tops, strict=False), 1)),
            (f"{len(steps) + 1}", "", "", *tops[-1]),
        ]
        top_k = TOP_KS.index(self.settings["top_k"])
        return Card(
            kind="tree",
            title="One token at a time, and what could have been",
            sentence=f"After “{self.first['prompt']}”{came} the top-1 token is {tops[-1][0]} with {tops[-1][1]}.",
            values={"temperature": round(10 * self.settings["temperature"]), "top_k": top_k, "back": 0},
            config=self.first,
            table=drawn if steps else [("next token", "probability"), *_branches(best[0])],
            still="Run this cell to draw further tokens from the model.",
            attributes='data-fed="input"',
        )

    def read(self, prompt: str) -> dict:
        self._forget_later()
        tree = TokenTree(self.model, prompt)
        reset = tree.config(version=self.version + 1)
        self.tree, self.version = tree, self.version + 1
        return {"reset": reset}

    def answer(self, question: dict) -> dict:
        """What the page is told when it asks for a step.

        question  n: its number; version of the prompt; path: ids; do: draw, top1, rest or take; id for take;
                  temperature and top_k for the draws
        return    n; the step to add, the node it leads to and its key, and the greedy path; or an error
        """
        reply: dict = {"n": question["n"]}
        try:
            if question["version"] != self.version:  # the page was loaded again and shows the first prompt
                return reply | {"reset": self.tree.config(version=self.version)}
            with quickly(self.model):
                return reply | self._step(tuple(question["path"]), question)
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            return reply | {"error": failure(error)}

    def _step(self, path: Path, question: dict) -> dict:
        ahead, self.ahead = self.ahead, None
        if ahead and ahead.of == self._draw_of(path, question):
            return ahead.reply
        if ahead:
            self.generator.set_state(ahead.before)
        return self._work_out(path, question)

    def _work_out(self, path: Path, question: dict) -> dict:
        logits = self.tree.logits(path)
        how = {"draw": DRAWN, "top1": TOP_1, "rest": REST, "take": CHOSEN}[question["do"]]
        if how in (DRAWN, REST):
            token_id = draw(logits, question, self.generator, rest=how == REST)
        else:
            token_id = int(logits.argmax()) if how == TOP_1 else question["id"]
        longer = (*path, token_id)
        return {
            "add": self.tree.take(path, token_id, how),
            "key": key(longer),
            "node": expand(self.tree.logits(longer)),
            "greedy": [step[1:3] for step in self.tree.greedy_path(len(longer))],
        }

    def _asked(self, change: dict) -> None:
        begin = time.perf_counter()
        self._forget_later()
        question = json.loads(change["new"])
        reply = self.answer(question)
        self.tell(reply, begin)
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
