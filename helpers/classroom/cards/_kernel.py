"""Cards that a model in the kernel answers: lines to type into below them, and the model's scores after any text."""

import time
from collections.abc import Callable

import ipywidgets
import torch
from IPython.display import display
from torch import Tensor
from traitlets import Unicode

from helpers.classroom.cards._card import Card, attribute, next_id
from helpers.gpt import GPT, KeyValueCache, evaluating, gpt2, tokenizer
from helpers.language import spoken

Model = Callable[[Tensor], Tensor]
ANY_LENGTH = 1024  # a model that does not say how much it can read is given as much as GPT-2 reads


class Line(ipywidgets.Text):
    """A line of text that ipywidgets 8 does not send back to the page it came from: the answer is there sooner."""

    value = Unicode("").tag(sync=True, echo_update=False)


def line(name: str, value: str, *, every_key: bool = True) -> Line:
    """A labelled line; the kernel hears of every key, or else of the finished text."""
    layout = ipywidgets.Layout(width="calc(100% - 6px)")
    style = {"description_width": f"{20 + 9 * len(spoken(name))}px"}
    return Line(value=value, description=spoken(name), continuous_update=every_key, layout=layout, style=style)


class KernelCard:
    """A card and, below it, lines for other texts. A subclass says what `card` is and what it is told of a new text.

    Page and kernel talk through hidden text, which every front end with ipywidgets carries: what is typed into a line
    comes here, and the answer goes into `feed`, where runtime.js finds it. Where none comes, the card says so.
    """

    def __init__(self, model: Model, lines: list[Line]) -> None:
        self.model, self.lines = model, lines
        self.feed = ipywidgets.HTML()
        self.parts = [*lines, self.feed]
        self.card_ids: list[str] = []  # one for each time that it was displayed: all of them are told
        for line in lines:
            line.observe(self._typed, names="value")

    def card(self) -> Card:
        """The card as it is now."""
        raise NotImplementedError

    def read(self, *texts: str) -> dict:
        """What the page is told when these texts stand in the lines."""
        raise NotImplementedError

    def failed(self, error: str) -> dict:
        """What it is told when `read` failed."""
        return {"error": error}

    def tell(self, message: dict, begin: float) -> None:
        """Send the page a message: JSON, which becomes part of the card's config. `begin`: when work on it began."""
        message |= {"ms": round(1000 * (time.perf_counter() - begin), 2)}
        feed = f'data-feed="{" ".join(self.card_ids)}"'
        self.feed.value = f'<div {feed} data-config="{attribute(message)}" hidden></div>'

    def __repr__(self) -> str:
        return repr(self.card())

    def _ipython_display_(self) -> None:
        card = self.card()
        card_id = next_id(card.kind)
        self.card_ids.append(card_id)
        display({"text/html": card.markup(card_id), "text/plain": repr(card)}, raw=True)
        panel = ipywidgets.VBox(self.parts)
        panel.add_class("cw-lines")
        panel.add_class(f"cw-of-{card_id}")
        view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
        text = spoken("a line to type into, where a kernel runs")
        display({"application/vnd.jupyter.widget-view+json": view, "text/plain": text}, raw=True)

    def _typed(self, _change: object) -> None:
        begin = time.perf_counter()
        try:
            message = self.read(*(line.value for line in self.lines))
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            message = self.failed(failure(error))
        self.tell(message, begin)


class Reader:
    """The scores after one text and then another; of one that goes on where the last one ended only the end is read.

    model  a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cache: KeyValueCache | None = None
        self.cached: list[int] = []
        self.weights_then: tuple = ()
        self.last = torch.empty(0)  # scores after all that is cached

    @torch.no_grad()
    def logits(self, token_ids: list[int]) -> Tensor:
        """(V,) float32 on the CPU: the scores after the last of `token_ids` that fit the context, dropout off.

        ValueError: a model over another vocabulary.
        """
        token_ids = token_ids[-context_length(self.model) :]
        with evaluating(self.model):
            is_gpt = isinstance(self.model, GPT)
            logits = self._go_on(token_ids) if is_gpt else self.model(on_device(self.model, [token_ids]))[0, -1]
        check_vocabulary(logits)
        return logits.float().cpu()

    def _go_on(self, token_ids: list[int]) -> Tensor:
        weights, n = weights_version(self.model), len(self.cached)
        if weights != self.weights_then or self.cached != token_ids[:n]:
            n = 0  # trained meanwhile, or another text
        if n == len(token_ids):
            return self.last
        self.weights_then, self.cached = weights, []  # should the model fail now, nothing was read
        self.cache = self.cache if n else self.model.new_cache(1, context_length(self.model))
        hidden = self.model.hidden(on_device(self.model, [token_ids[n:]]), self.cache)
        self.last = self.model.head(hidden[:, -1])[0]  # the head is a GPT's largest matrix: one position goes through
        self.cached = token_ids
        return self.last


def check_vocabulary(logits: Tensor) -> None:
    """ValueError: scores (..., V) of a model over another vocabulary than GPT-2's."""
    if logits.shape[-1] != gpt2().n_vocab:
        raise ValueError(
            f"the card needs a model over GPT-2's {gpt2().n_vocab:,} tokens, got scores of shape "
            f"{tuple(logits.shape)}: preset(..., vocab_size={gpt2().n_vocab})"
        )


def on_device(model: Model, token_ids: list[list[int]]) -> Tensor:
    """(B, T) int64, where the model's parameters are."""
    parameter = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
    return torch.tensor(token_ids, device=None if parameter is None else parameter.device)


def weights_version(model: Model) -> tuple:
    """Differs from before once a parameter was written to, moved or replaced; () for a plain function."""
    parts = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return tuple((p.data_ptr(), p.dtype, p._version) for p in parts)


def context_length(model: Model) -> int:
    """How many tokens the model reads at once."""
    return getattr(getattr(model, "config", None), "context_length", ANY_LENGTH)


def encode_prompt(text: str) -> list[int]:
    """GPT-2's ids of what was typed; special tokens are read as plain text.

    ValueError: nothing was typed.
    """
    if not text:
        raise ValueError("The prompt is empty: type at least one character")
    return tokenizer.encode(gpt2(), text)


def failure(error: Exception) -> str:
    """What the reader is told about an error: a ValueError speaks for itself, anything else is named."""
    said = str(error) if isinstance(error, ValueError) else f"The model failed: {type(error).__name__}: {error}"
    return said if said.endswith(".") else f"{said}."
