"""Sampling one token at a time, with the tree of what could have been; the model answers from the kernel."""

from __future__ import annotations

import json
import math
import time

import ipywidgets
import torch

from helpers.classroom.cards._card import Card
from helpers.classroom.cards._kernel import KernelCard, Line, Model, failure, line, quickly, weights_version
from helpers.classroom.cards._token_tree import TEMPERATURES, TOP_1, TOP_KS, TokenTree, draw, expand, key, step_to

DEPTH = 3  # levels of the tree that the page carries
DRAWN, CHOSEN, REST = "drawn", "your choice", "drawn from the rest"
SEED = 7  # of the card's own generator


def sampling_tree(model: Model, prompt: str = "The captain") -> SamplingTree:
    """A card that draws one token at a time and shows, at every step, what else could have come.

    model   a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt  any text; of one longer than the context the end is read, and the card says so

    ValueError: an empty prompt, or a model over another vocabulary.
    """
    return SamplingTree(model, prompt)


class SamplingTree(KernelCard):
    """The card, a line below it for another prompt, and a hidden line in which the page asks for a step.

    Displayed more than once, each card goes its own way and all share the lines; a question that is asked on one while
    another's waits may get lost, and its card says so.
    """

    def __init__(self, model: Model, prompt: str) -> None:
        super().__init__(model, [line("prompt", prompt)])
        self.tree, self.generator = TokenTree(model, prompt), torch.Generator().manual_seed(SEED)
        self.ahead: tuple = (None, {})  # of a question that may come next: its state, its answer
        self.question = Line(layout=ipywidgets.Layout(display="none"))
        self.question.add_class("cw-ask")
        self.question.observe(self._asked, names="value")
        self.parts.append(self.question)

    def card(self) -> Card:
        with quickly(self.model):
            config = self.tree.config(DEPTH)
        _, labels, distances, log_sums, _ = config["nodes"][""]
        log_sum = log_sums[TEMPERATURES.index(1.0) - 1]
        shown = [
            (name, f"{100 * math.exp(-d - log_sum):.1f} %") for name, d in zip(labels, [0.0, *distances], strict=False)
        ]
        top, p = shown[0]
        return Card(
            kind="tree",
            title="One token at a time, and what could have been",
            sentence=f"After “{self.tree.prompt}” the top-1 token is {top} with {p}.",
            values={"temperature": TEMPERATURES.index(1.0), "top_k": TOP_KS.index(None), "back": 0},
            config=config,
            table=[("next token", "probability"), *shown],
            still="Run this cell to draw further tokens from the model.",
            attributes='data-fed="input"',
        )

    def read(self, prompt: str) -> dict:
        tree = TokenTree(self.model, prompt, self.tree.version + 1)
        reset = tree.config()
        self.tree, self.ahead = tree, (None, {})
        return {"reset": reset}

    def answer(self, question: dict) -> dict:
        """What the page is told when it asks for a step.

        question  n: its number; version of the prompt; path: ids; do: draw, top1, rest or take; id for take;
                  temperature and top_k for the draws
        return    n; the step to add, the node it leads to and its key, and the greedy path; or an error
        """
        reply: dict = {"n": question["n"]}
        (state, made), self.ahead = self.ahead, (None, {})
        if "add" in made and state == self._state(question):
            return made | reply
        try:
            if question["version"] != self.tree.version:  # the page was loaded again and shows the first prompt
                return reply | {"reset": self.tree.config()}
            with quickly(self.model):
                return reply | self._step(question["path"], question)
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            return reply | {"error": failure(error)}

    def _step(self, path: list[int], question: dict) -> dict:
        logits = self.tree.logits(path)
        how = {"draw": DRAWN, "top1": TOP_1, "rest": REST, "take": CHOSEN}[question["do"]]
        if how in (DRAWN, REST):
            token_id = draw(logits, question, self.generator, rest=how == REST)
        else:
            token_id = int(logits.argmax()) if how == TOP_1 else question["id"]
        longer = [*path, token_id]
        return {
            "add": step_to(token_id, logits, how),
            "key": key(longer),
            "node": expand(self.tree.logits(longer)),
            "greedy": self.tree.greedy_path(len(longer)),
        }

    def _asked(self, change: dict) -> None:
        begin, question = time.perf_counter(), json.loads(change["new"])
        reply = self.answer(question)
        self.tell(reply, begin)
        if question["do"] == "draw" and "add" in reply:  # while the reader looks, the draw after this one
            following = question | {"path": [*question["path"], reply["add"][0]]}
            self.ahead = self._state(following), self.answer(following)

    def _state(self, question: dict) -> list:
        """All that the answer to a question depends on."""
        return [question | {"n": 0}, weights_version(self.model)]
