"""Sampling one token at a time, with the tree of what could have been; the model answers from the kernel."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable

import ipywidgets
import torch
from IPython.display import display
from torch import Tensor

from helpers.decode import keep_top_k, next_probs
from helpers.tokenizer import gpt2, token_labels
from helpers.widgets._card import Card, next_id
from helpers.widgets._next_token import (
    Line,
    Model,
    Reader,
    context_length,
    encode_prompt,
    failure,
    prompt_box,
    prompt_status,
    quickly,
    status,
    weights_version,
)
from helpers.widgets._tree_state import N_BRANCHES, N_EXACT, TEMPERATURES, TOP_K, WIDE, plain, template, tree_state

DEPTH, BREADTH = 3, 4  # the part of the tree that the page carries, so that it goes on there without a kernel
KEPT = 64  # rows of logits that the kernel remembers: 13 MB
DRAWN, FAVOURITE, CHOSEN, REST = "drawn", "favourite", "your choice", "drawn from the rest"
Node = list  # [ids, labels, distances, log-sums of all, log-sums of the WIDE best], see `expand`
Step = list  # [id, label, log-probability, how it was taken, rank from 0]
Path = tuple[int, ...]


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


def expand(logits: Tensor) -> Node:
    """What the card needs to know about the token after some text, for every position of its two sliders.

    logits  (V,) float
    return  ids of the favourites; their labels, without quotes, separated by tabs; how far the 2nd to the 10th logit
            lie below the highest; per temperature above 0, ln sum exp((logit - highest) / temperature) over all
            tokens, and the same over the 50 best

    The probability of favourite j is exp(-distance_j / temperature - log_sum), exactly that of the whole vocabulary.
    """
    order = favourites(logits, WIDE)
    below = logits - logits[order[0]]
    temperatures = torch.tensor(TEMPERATURES[1:])[:, None]
    ids = order[:N_BRANCHES].tolist()
    distances = (-below[order[1:N_EXACT]]).tolist()
    log_sums = [torch.exp(x / temperatures).sum(-1).log().tolist() for x in (below, below[order])]
    return [ids, "\t".join(label[1:-1] for label in token_labels(ids)), *map(_short, (distances, *log_sums))]


def favourites(logits: Tensor, n: int) -> Tensor:
    """The ids of the n highest scores (V,), highest first, among equals the lower id first."""
    ids = keep_top_k(logits, n).nonzero().squeeze(-1)  # ascending
    return ids[logits[ids].sort(descending=True, stable=True).indices]


def draw(
    logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator, *, rest: bool = False
) -> int:
    """One token id, drawn from the tokens that `top_k` leaves at the given temperature.

    logits     (V,)
    generator  where the draw comes from; the global one is never touched
    rest       draw among the tokens that are not shown as branches of their own

    ValueError: `rest` where the filter leaves nothing beyond the favourites.
    """
    probs = next_probs(logits, temperature=temperature, top_k=top_k)
    if rest:
        probs[favourites(logits, N_BRANCHES)] = 0
        if not probs.any():
            raise ValueError("The rest has no chance with these settings: raise top-k and the temperature")
    return int(torch.multinomial(probs, 1, generator=generator))


def step_taken(logits: Tensor, token_id: int, how: str) -> Step:
    """The step to `token_id`: id, label without quotes, ln p at temperature 1, how it was taken, rank from 0."""
    log_prob = (logits[token_id] - logits.logsumexp(-1)).item()
    rank = int((logits > logits[token_id]).sum())
    return [token_id, token_labels([token_id])[0][1:-1], round(log_prob, 5), how, rank]


def key(path: Iterable[int]) -> str:
    """The name of a node: the ids that lead to it from the prompt."""
    return ",".join(map(str, path))


class TokenTree:
    """Prompt and model: the scores after any path of tokens, each computed once while it is remembered."""

    def __init__(self, model: Model, prompt: str) -> None:
        self.model, self.prompt = model, prompt
        self.prompt_ids = encode_prompt(prompt)
        self.reader, self.greedy_reader = Reader(model), Reader(model)  # each follows a path of its own
        self.remembered: dict[Path, Tensor] = {}
        self.greedy: list[Step] = []
        self.weights_then = weights_version(model)

    def logits(self, path: Path, reader: Reader | None = None) -> Tensor:
        """(V,) scores of what follows prompt and path."""
        if (now := weights_version(self.model)) != self.weights_then:  # trained meanwhile
            self.remembered, self.weights_then = {}, now
        found = self.remembered.pop(path, None)
        if found is None:
            found = (reader or self.reader).logits([*self.prompt_ids, *path])
        self.remembered[path] = found  # at the end: the first of the dictionary is the one not used for longest
        if len(self.remembered) > KEPT:
            del self.remembered[next(iter(self.remembered))]
        return found

    def take(self, path: Path, token_id: int, how: str) -> Step:
        return step_taken(self.logits(path), token_id, how)

    def greedy_path(self, n_steps: int) -> list[Step]:
        """The first `n_steps` of the path that takes the favourite each time."""
        while len(self.greedy) < n_steps:
            path = tuple(step[0] for step in self.greedy)
            logits = self.logits(path, self.greedy_reader)
            self.greedy.append(step_taken(logits, int(logits.argmax()), FAVOURITE))
        return self.greedy[:n_steps]

    def config(self, path: Path = (), drawn: Iterable[Step] = (), *, depth: int = 1, version: int = 0) -> dict:
        """What the page gets, as JSON: the first `depth` levels of the tree and the nodes along `path`."""
        nodes = {}
        level: list[Path] = [()]
        for _ in range(depth):
            nodes |= {key(p): expand(self.logits(p)) for p in level}
            level = [(*p, i) for p in level for i in nodes[key(p)][0][:BREADTH]]
        along = [path[:n] for n in range(len(path) + 1)]
        nodes |= {key(p): expand(self.logits(p)) for p in along if key(p) not in nodes}
        return {
            "V": gpt2().n_vocab,
            "prompt": self.prompt,
            "n_prompt": len(self.prompt_ids),
            "context": context_length(self.model),
            "version": version,
            "path": list(drawn),
            "nodes": nodes,
            "greedy": [step[1:3] for step in self.greedy_path(max(depth, len(path)) + 1)],
            "error": None,
            "notice": "",
        }


class SamplingTree:
    """The card, a line below it for another prompt, and two hidden widgets through which page and kernel talk."""

    def __init__(self, model: Model, prompt: str, values: dict[str, float], n_drawn: int, seed: int) -> None:
        self.model, self.values = model, values
        self.generator = torch.Generator().manual_seed(seed)
        self.tree = TokenTree(model, prompt)
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
        self.card_id = ""
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
        self.card_id = next_id("tree")
        display({"text/html": self.card().markup(self.card_id), "text/plain": repr(self)}, raw=True)
        self.question.add_class(f"cw-ask-{self.card_id}")
        panel = ipywidgets.VBox([self.box, self.status, self.question, self.feed])
        panel.add_class("cw-prompt")
        view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
        text = "a line for another prompt, where a kernel runs"
        display({"application/vnd.jupyter.widget-view+json": view, "text/plain": text}, raw=True)

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
        reply = self.answer(json.loads(change["new"]))
        self._tell(reply)
        if not reply["error"]:  # while the reader looks: the greedy path of the next step
            with quickly(self.model):
                self.tree.greedy_path(len(reply.get("key", "").split(",")) + 1)

    def _new_prompt(self, change: dict) -> None:
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
        self.feed.value = f'<div data-tree-feed="{self.card_id}" data-message="{text}" hidden></div>'


def _short(numbers: list[float]) -> list[float]:
    """Five significant digits, without exponents: the card shows fewer."""
    return [float(f"{x:.5g}") if x >= 1e-4 else 0.0 for x in numbers]
