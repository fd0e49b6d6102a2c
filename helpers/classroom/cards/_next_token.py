"""What a model in the kernel says about the next token after any text that is typed in."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile

import ipywidgets
import torch
from torch import Tensor
from traitlets import Unicode

from helpers.classroom.cards._card import display_above, next_id
from helpers.classroom.cards._sampling import sampling_card, sampling_config
from helpers.gpt import GPT, KeyValueCache, evaluating, gpt2

Model = Callable[[Tensor], Tensor]
ANY_LENGTH = 1024  # a model that does not say how much it can read is given as much as GPT-2 reads
SMALL = 50_000_000  # parameters: below, handing work to a second thread costs more than it saves
BELOW_THE_CARD = (
    ".cw-prompt{max-width:1000px}.cw-prompt p{margin:0 0 0 80px;font:16px/1.4 system-ui,sans-serif}"
    ".cw-prompt .widget-label,.cw-prompt input{font-size:16px!important}.cw-prompt .widget-text{height:36px!important}"
    ".cw-prompt input{height:34px!important}"
)
LINE_TEXT = "a line for another prompt, where a kernel runs"  # in place of the widgets below a card
SHOWN_CHARACTERS = 60  # of the prompt in the card's sentence


class NextToken:
    """The sampling card and, below it, a line for another prompt, which the model in the kernel then continues."""

    def __init__(self, model: Model, prompt: str) -> None:
        self.model = model
        self.reader = Reader(model)
        self.config = next_token_config(self.reader, prompt)
        self.box = prompt_box(prompt)
        self.status = ipywidgets.HTML(prompt_status(model, prompt))
        self.feed = ipywidgets.HTML()
        self.card_ids: list[str] = []  # one for each time that it was displayed: all of them are fed
        self.box.observe(self._typed, names="value")

    def __repr__(self) -> str:
        return sampling_card(self.config).text.replace("sampling widget", "next token", 1)

    def _ipython_display_(self) -> None:
        card_id = next_id("sampling")
        self.card_ids.append(card_id)
        card = replace(sampling_card(self.config, fed=True), text=repr(self))
        display_above(card, card_id, [self.box, self.status, self.feed], "cw-prompt", LINE_TEXT)

    def _typed(self, change: dict) -> None:
        begin = time.perf_counter()
        try:
            with quickly(self.model):
                self.config = next_token_config(self.reader, change["new"])
            line = prompt_status(self.model, change["new"])
        except Exception as error:  # whatever the model throws belongs on the card, the only place the reader looks at
            self.config = self.config | {"error": f"{failure(error)} Below: the last prompt that worked."}
            line = status(failure(error))
        config = html.escape(json.dumps(self.config, ensure_ascii=False, separators=(",", ":")))
        ms = 1000 * (time.perf_counter() - begin)
        fed = " ".join(self.card_ids)
        self.feed.value = f'<div data-feed="{fed}" data-config="{config}" data-ms="{ms:.2f}" hidden></div>'
        self.status.value = line  # after the picture, for which the reader waits


def next_token(model: Model, prompt: str = "The captain") -> NextToken:
    """The card of `sampling` on a model's scores for the token after any prompt, which may be typed below it.

    model   a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    prompt  any text; of one longer than the context the end is read, and a line says so

    ValueError: an empty prompt, or a model over another vocabulary; typed, an empty prompt becomes a message.
    """
    return NextToken(model, prompt)


def next_token_config(reader: Reader, prompt: str) -> dict:
    """What `sampling_config` says about the token after `prompt`: the scores of all V tokens in few numbers."""
    logits = reader.logits(encode_prompt(prompt))
    characters = list(prompt.replace("\n", "⏎"))
    cut = characters if len(characters) <= SHOWN_CHARACTERS else ["…", *characters[1 - SHOWN_CHARACTERS :]]
    return sampling_config(logits, gpt2(), prompt="".join(cut))


class Reader:
    """The scores after one text and then another: what a GPT computed for their common beginning is used again.

    model  a GPT, or any function token_ids (1, T) -> logits (1, T, V) over GPT-2's vocabulary
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cache: KeyValueCache | None = None
        self.cached: list[int] = []
        self.weights_then = weights_version(model)

    @torch.no_grad()
    def logits(self, token_ids: list[int]) -> Tensor:
        """(V,) float32 on the CPU: the scores after the last of `token_ids` that fit the context, dropout off.

        ValueError: no token, or a model over another vocabulary.
        """
        if not token_ids:
            raise ValueError("the model needs at least one token to say what follows, got none")
        token_ids = token_ids[-context_length(self.model) :]
        with evaluating(self.model):
            logits = self._with_cache(token_ids) if isinstance(self.model, GPT) else self._whole(token_ids)
        if logits.shape != (gpt2().n_vocab,):
            raise ValueError(
                f"the card needs a model over GPT-2's {gpt2().n_vocab:,} tokens, got scores of shape "
                f"{tuple(logits.shape)}: preset(..., vocab_size={gpt2().n_vocab})"
            )
        return logits.float().cpu()

    def _with_cache(self, token_ids: list[int]) -> Tensor:
        if self.cache is None:
            self.cache = self.model.new_cache(1, context_length(self.model))
        if (now := weights_version(self.model)) != self.weights_then:  # trained meanwhile: another model's keys
            self.cache, self.cached, self.weights_then = self.model.new_cache(1, self.cache.capacity), [], now
        pairs = zip(self.cached, token_ids[:-1], strict=False)  # the last one is read anew, for its scores
        n_common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        self.cached = token_ids[:n_common]  # should the model fail now, this much is still true
        self.cache.cut([n_common])
        hidden = self.model.hidden(self._tensor(token_ids[n_common:]), self.cache)
        self.cached = token_ids
        return self.model.head(hidden[:, -1])[0]  # the head is a GPT's largest matrix: one position goes through it

    def _whole(self, token_ids: list[int]) -> Tensor:
        return self.model(self._tensor(token_ids))[0, -1]

    def _tensor(self, token_ids: list[int]) -> Tensor:
        parts = self.model.parameters() if isinstance(self.model, torch.nn.Module) else iter(())
        parameter = next(parts, None)
        return torch.tensor([token_ids], device=None if parameter is None else parameter.device)


def weights_version(model: Model) -> tuple:
    """Differs from before once a parameter was written to, moved or replaced; () for a plain function."""
    parts = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return tuple((p.data_ptr(), p.dtype, p._version) for p in parts)


@contextmanager
def quickly(model: Model) -> Iterator[None]:
    """A small model on one thread: the second core draws the page meanwhile, and waiting for it would be longest."""
    threads = torch.get_num_threads()
    parts = model.parameters() if isinstance(model, torch.nn.Module) else ()
    if sum(p.numel() for p in parts) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def context_length(model: Model) -> int:
    """How many tokens the model reads at once."""
    return getattr(getattr(model, "config", None), "context_length", ANY_LENGTH)


def encode_prompt(text: str) -> list[int]:
    """GPT-2's ids of what was typed; special tokens are read as plain text.

    ValueError: nothing was typed.
    """
    if not text:
        raise ValueError("The prompt is empty: type at least one character")
    return gpt2().encode(text, disallowed_special=())


def failure(error: Exception) -> str:
    """What the reader is told about an error: a ValueError speaks for itself, anything else is named."""
    said = str(error) if isinstance(error, ValueError) else f"The model failed: {type(error).__name__}: {error}"
    return said if said.endswith(".") else f"{said}."


def prompt_status(model: Model, prompt: str) -> str:
    """The line below the prompt: how many tokens it has, and how many of them the model can read."""
    n, most = len(encode_prompt(prompt)), context_length(model)
    said = f"{n:,} token{'s' * (n > 1)}"
    if n > most:
        said += f": the model reads only the last {most:,}, the first {n - most:,} are not seen"
    return status(said)


def status(text: str) -> str:
    """A line that a screen reader reads out, with the style of what stands below a card."""
    return f'<style>{BELOW_THE_CARD}</style><p role="status">{html.escape(text)}</p>'


class Line(ipywidgets.Text):
    """A line of text that ipywidgets 8 does not send back to the page it came from: the answer is there sooner."""

    value = Unicode("").tag(sync=True, echo_update=False)


def prompt_box(value: str) -> Line:
    """A labelled line to type a prompt into; the kernel hears of every key, the latest text first."""
    layout = ipywidgets.Layout(width="calc(100% - 6px)")
    return Line(
        value=value, description="prompt", continuous_update=True, layout=layout, style={"description_width": "70px"}
    )
