"""Sampling one token at a time, with the tree of what could have been; the model answers from the kernel."""

import json
import math
import time
from collections.abc import Iterable

import ipywidgets
import torch
from torch import Tensor

from helpers.classroom.cards import _kernel
from helpers.classroom.cards._card import Card
from helpers.gpt import gpt2, keep_top_k, next_probs, token_labels

DEPTH = 3  # levels of the tree that the page carries
SEED = 7  # of the card's own generator
TEMPERATURES = [t / 10 for t in range(21)]
TOP_KS = (1, 2, 3, 5, 10, 50, None)
N_BRANCHES = 5  # highest tokens that are branches of their own
N_EXACT = 10  # highest logits that the page knows, for every top-k up to here
WIDE = 50  # the one top-k above, for which the page gets the sum
BREADTH = 4  # branches of every node that the page carries, so that it goes on there without a kernel
DRAWN, CHOSEN, REST, TOP_1 = "drawn", "your choice", "drawn from the rest", "top-1"
Node = list  # [ids, labels, distances, log-sums of all, log-sums of the WIDE best], see `expand`
Step = list  # [id, label, log-probability, how it was taken, rank from 0]
Path = tuple[int, ...]


class SamplingTree(_kernel.KernelCard):
    """A card that draws one token at a time and shows, at every step, what else could have come.

    model   a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt  any text; of one longer than the context the end is read, and the card says so

    Below it are a line for another prompt, and a hidden one in which the page asks for a step. Displayed more than
    once, each card goes its own way and all share the lines; a question that is asked on one while another's waits may
    get lost, and its card says so.
    ValueError: an empty prompt, or a model over another vocabulary.
    """

    def __init__(self, model: _kernel.Model, prompt: str = "The captain") -> None:
        super().__init__(model, [_kernel.line("prompt", prompt)])
        self.tree, self.generator = TokenTree(model, prompt), torch.Generator().manual_seed(SEED)
        self.ahead: tuple = (None, {})  # of a question that may come next: its state, its answer
        self.question = _kernel.Line(layout=ipywidgets.Layout(display="none"))
        self.question.add_class("cw-ask")
        self.question.observe(self._asked, names="value")
        self.parts.append(self.question)

    def card(self) -> Card:
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
            return reply | self._step(question["path"], question)
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            return reply | {"error": _kernel.failure(error)}

    def _step(self, path: list[int], question: dict) -> dict:
        logits = self.tree.logits(path)
        how = {"draw": DRAWN, "top1": TOP_1, "rest": REST, "take": CHOSEN}[question["do"]]
        if how in (DRAWN, REST):
            probs = next_probs(logits, temperature=question["temperature"], top_k=question["top_k"])
            if how == REST:
                probs[highest(logits, N_BRANCHES)] = 0
            if not probs.any():
                raise ValueError("The rest has no chance with these settings: raise top-k and the temperature")
            token_id = int(torch.multinomial(probs, 1, generator=self.generator))
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
        return [question | {"n": 0}, _kernel.weights_version(self.model)]


class TokenTree:
    """Prompt and model: the scores after any path of tokens, and the path that takes the top-1 token each time."""

    def __init__(self, model: _kernel.Model, prompt: str, version: int = 0) -> None:
        self.model, self.prompt, self.version = model, prompt, version
        self.prompt_ids = _kernel.encode_prompt(prompt)
        self.reader, self.greedy_reader = _kernel.Reader(model), _kernel.Reader(model)  # each follows a path of its own
        self.greedy: list[Step] = []
        self.logits(())  # of a model that does not do, now

    def logits(self, path: Iterable[int]) -> Tensor:
        """(V,) scores of what follows prompt and path."""
        return self.reader.logits([*self.prompt_ids, *path])

    def greedy_path(self, n_steps: int) -> list[list]:
        """[label, ln p] of the first `n_steps` of the greedy path."""
        while len(self.greedy) < n_steps:
            logits = self.greedy_reader.logits([*self.prompt_ids, *(step[0] for step in self.greedy)])
            self.greedy.append(step_to(int(logits.argmax()), logits, TOP_1))
        return [step[1:3] for step in self.greedy[:n_steps]]

    def config(self, depth: int = 1) -> dict:
        """What the page gets, as JSON: the first `depth` levels of the tree."""
        nodes: dict[Path, Node] = {}
        level: list[Path] = [()]
        for _ in range(depth):
            nodes |= {p: expand(self.logits(p)) for p in level}
            level = [(*p, i) for p in level for i in nodes[p][0][:BREADTH]]
        return {
            "V": gpt2().n_vocab,
            "temperatures": TEMPERATURES,
            "top_ks": TOP_KS,
            "prompt": self.prompt,
            "n_prompt": len(self.prompt_ids),
            "context": _kernel.context_length(self.model),
            "version": self.version,
            "path": [],
            "nodes": {key(p): node for p, node in nodes.items()},
            "greedy": self.greedy_path(depth + 1),
            "error": None,
            "notice": "",
        }


def expand(logits: Tensor) -> Node:
    """What the card needs to know about the token after some text, for every position of its two sliders.

    logits  (V,) float
    return  ids of the highest; their labels; how far the 2nd to the 10th logit lie below the highest; per temperature
            above 0, ln sum exp((logit - highest) / temperature) over all tokens, and the same over the 50 best

    The probability of branch j is exp(-distance_j / temperature - log_sum), exactly that of the whole vocabulary.
    """
    order = highest(logits, WIDE)
    below = logits - logits[order[0]]
    temperatures = torch.tensor(TEMPERATURES[1:])[:, None]
    ids = order[:N_BRANCHES].tolist()
    distances = (-below[order[1:N_EXACT]]).tolist()
    log_sums = [torch.exp(x / temperatures).sum(-1).log().tolist() for x in (below, below[order])]
    return [ids, token_labels(ids), *map(_short, (distances, *log_sums))]


def highest(logits: Tensor, n: int) -> Tensor:
    """The ids of the n highest scores (V,), highest first, among equals the lower id first."""
    ids = keep_top_k(logits, n).nonzero().squeeze(-1)  # ascending
    return ids[logits[ids].sort(descending=True, stable=True).indices]


def step_to(token_id: int, logits: Tensor, how: str) -> Step:
    """The step to `token_id` at scores (V,): id, label, ln p at temperature 1, how it was taken, rank from 0."""
    log_prob = (logits[token_id] - logits.logsumexp(-1)).item()
    rank = int((logits > logits[token_id]).sum())
    return [token_id, token_labels([token_id])[0], round(log_prob, 5), how, rank]


def key(path: Iterable[int]) -> str:
    """The name of a node: the ids that lead to it from the prompt."""
    return ",".join(map(str, path))


def _short(numbers: list[float]) -> list[float]:
    """Five significant digits, without exponents: the card shows fewer."""
    return [float(f"{x:.5g}") if x >= 1e-4 else 0.0 for x in numbers]
