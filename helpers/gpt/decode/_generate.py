"""One token after the other: prompts of any lengths side by side, as a stream or at once, with the cache or without."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

import tiktoken
import torch
from torch import Tensor

from helpers.gpt.cache import KeyValueCache
from helpers.gpt.decode._strategy import SamplingParams
from helpers.gpt.loss import evaluating
from helpers.gpt.model import GPT

Prompts = Tensor | Sequence[Tensor | Sequence[int]]


def generate(
    model: GPT,
    prompts: Prompts,
    n_new: int,
    *,
    end_id: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **settings: float | bool | None,
) -> Tensor | list[Tensor]:
    """Continue each prompt by up to `n_new` tokens, dropout off; a text beyond the context is seen through its end.

    prompts    (B, T) ids, or a list of B prompts of any lengths; `stream_text` takes a text
    end_id     a row ends after this token; None: no token ends it
    generator  where the draws come from, on the model's device; None: one seeded with 0. Never the global one
    use_cache  False computes every token anew, and gives the same tokens
    settings   as for `SamplingParams`: temperature, top_k, top_p, min_p, repetition_penalty, filters_first
    return     of (B, T): (B, T + n) prompts and continuations, n = n_new or fewer if all rows have ended; a row that
               ended is filled up with `end_id`. Of a list: a list of (T_b + n_b,), each with its end_id last

    ValueError: n_new below 0, no prompt or an empty one, a text, an id outside [0, V), settings out of range.
    """
    text = _Text(model, prompts, n_new)
    for _ in _continue(model, text, n_new, end_id, generator, use_cache, settings):
        pass
    return text.whole() if isinstance(prompts, Tensor) else text.rows(end_id)


def stream(
    model: GPT,
    prompts: Prompts,
    n_new: int,
    *,
    end_id: int | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    **settings: float | bool | None,
) -> Iterator[Tensor]:
    """The new tokens as they come: (B,) int64 a step, `end_id` for rows that have ended; all else as for `generate`."""
    return _continue(model, _Text(model, prompts, n_new), n_new, end_id, generator, use_cache, settings)


def stream_text(model: GPT, tokenizer: tiktoken.Encoding, prompt: str, n_new: int, **settings: object) -> Iterator[str]:
    """The continuation of one prompt as it comes, in pieces of whole characters: a token may hold half of one.

    prompt    at least one token; an empty text may begin with the tokenizer's end-of-text token, `tokenizer.eot_token`
    settings  as for `generate`. The text ends before `end_id`, which is the tokenizer's end-of-text token if not given

    ValueError: as for `generate`.
    """
    if model.config.vocab_size > tokenizer.n_vocab:
        raise ValueError(
            f"the model has {model.config.vocab_size:,} tokens and the tokenizer {tokenizer.n_vocab:,}: it could write "
            f"some that nobody can spell; shrink it with weights.resize_vocabulary(model, {tokenizer.n_vocab})"
        )
    settings = {"end_id": tokenizer.eot_token} | settings
    steps = stream(model, [tokenizer.encode(prompt, allowed_special="all")], n_new, **settings)
    return _as_text(steps, tokenizer, settings["end_id"])


def _as_text(steps: Iterator[Tensor], tokenizer: tiktoken.Encoding, end_id: int | None) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for step in steps:
        if step.item() != end_id and (piece := decoder.decode(tokenizer.decode_single_token_bytes(step.item()))):
            yield piece
    if left := decoder.decode(b"", final=True):
        yield left


def _continue(
    model: GPT,
    text: _Text,
    n_new: int,
    end_id: int | None,
    generator: torch.Generator | None,
    use_cache: bool,
    settings: dict,
) -> Iterator[Tensor]:
    strategy = SamplingParams(**settings)
    strategy.check_vocabulary(model.config.vocab_size)
    if end_id is not None and not 0 <= end_id < model.config.vocab_size:
        raise ValueError(f"end_id must be in [0, {model.config.vocab_size}) or None, got {end_id}")
    generator = generator or torch.Generator(text.token_ids.device).manual_seed(0)
    return _steps(model, text, n_new, end_id, generator, use_cache, strategy)


@torch.no_grad()
def _steps(
    model: GPT,
    text: _Text,
    n_new: int,
    end_id: int | None,
    generator: torch.Generator,
    use_cache: bool,
    strategy: SamplingParams,
) -> Iterator[Tensor]:
    reader = _Reader(model, text, use_cache)
    penalised = strategy.repetition_penalty != 1
    for _ in range(n_new):
        with evaluating(model):  # not around the loop: whoever takes the tokens may train between two of them
            logits = reader.next_logits()
        seen = text.seen(logits.shape[-1]) if penalised else None
        if strategy.temperature == 0 and not penalised:
            chosen = logits.argmax(-1)  # what `probs` would say, without the detour
        else:
            chosen = torch.multinomial(strategy.probs(logits, seen), 1, generator=generator).squeeze(-1)
        if end_id is not None:
            chosen = torch.where(text.ended, end_id, chosen)
            text.ended |= chosen == end_id
        text.append(chosen)
        yield chosen
        if end_id is not None and text.ended.all():
            return


class _Text:
    """Prompts and what was written so far, as rows (B, T_max) filled up on the right: causal attention never sees that.

    starts  (B,) prompt lengths; after n new tokens row b is `starts[b] + n` long
    """

    def __init__(self, model: GPT, prompts: Prompts, n_new: int) -> None:
        if not isinstance(n_new, int) or n_new < 0:
            raise ValueError(f"expected n_new >= 0, got {n_new!r}")
        device = model.token_embedding.weight.device
        rows = _as_rows(prompts, device)
        if not rows or any(row.ndim != 1 or not len(row) or row.is_floating_point() for row in rows):
            raise ValueError(
                "expected prompts (B, T) or a list of rows, each with at least one token, "
                f"got {[tuple(row.shape) for row in rows]}"
            )
        self.starts, self.n_written = [len(row) for row in rows], 0
        self.token_ids = torch.zeros(len(rows), max(self.starts) + n_new, dtype=torch.int64, device=device)
        for row, ids in zip(self.token_ids, rows, strict=True):
            row[: len(ids)] = ids
        low, high, V = int(self.token_ids.min()), int(self.token_ids.max()), model.config.vocab_size
        if low < 0 or high >= V:
            raise ValueError(f"token ids must be in [0, {V}), got ids from {low} to {high}: another tokenizer's?")
        self.ended = torch.zeros(len(rows), dtype=torch.bool, device=device)

    @property
    def lengths(self) -> list[int]:
        return [start + self.n_written for start in self.starts]

    def append(self, chosen: Tensor) -> None:
        if len(set(self.starts)) == 1:
            self.token_ids[:, self.starts[0] + self.n_written] = chosen
        else:
            ends = torch.tensor(self.lengths, device=chosen.device)
            self.token_ids.scatter_(1, ends[:, None], chosen[:, None])
        self.n_written += 1

    def seen(self, vocab_size: int) -> Tensor:
        """(B, V) true for tokens that the row has."""
        mask = torch.zeros(len(self.starts), vocab_size, dtype=torch.bool, device=self.token_ids.device)
        for row, ids, length in zip(mask, self.token_ids, self.lengths, strict=True):
            row[ids[:length]] = True
        return mask

    def whole(self) -> Tensor:
        return self.token_ids[:, : self.lengths[0]]

    def rows(self, end_id: int | None) -> list[Tensor]:
        rows = []
        for ids, start, length in zip(self.token_ids, self.starts, self.lengths, strict=True):
            ends = (ids[start:length] == end_id).nonzero() if end_id is not None else []
            rows.append(ids[: start + int(ends[0]) + 1 if len(ends) else length].clone())
        return rows


def _as_rows(prompts: Prompts, device: torch.device) -> list[Tensor]:
    if not hasattr(prompts, "__iter__") or getattr(prompts, "ndim", 1) == 0:
        raise ValueError(f"expected prompts (B, T) or a list of rows of token ids, got {type(prompts).__name__}")
    rows = [prompts] if isinstance(prompts, str) else list(prompts)
    if any(isinstance(row, str) for row in rows):
        raise ValueError(
            f"expected prompts of token ids, (B, T) or a list of rows, got text: {prompts!r}. "
            "stream_text(model, tokenizer, prompt, n_new) takes one; [tokenizer.encode(prompt)] are its ids"
        )
    return [torch.as_tensor(row, device=device) for row in rows]


class _Reader:
    """The scores of what comes next, read with the cache for as long as every row fits the context."""

    def __init__(self, model: GPT, text: _Text, use_cache: bool) -> None:
        self.model, self.text = model, text
        self.context_length = model.config.context_length
        longest = max(text.starts)
        capacity = min(self.context_length, text.token_ids.shape[1])
        fits = use_cache and longest <= capacity
        self.cache: KeyValueCache | None = model.new_cache(len(text.starts), capacity) if fits else None

    def next_logits(self) -> Tensor:
        """(B, V) in float32, from the last token of each row."""
        lengths = self.text.lengths
        if self.cache is not None and max(lengths) > self.context_length:
            self.cache = None  # the window slides from here on: each token moves to another position
        if self.cache is None:
            hidden = self._read_windows(lengths)
        elif max(self.cache.lengths) == 0:
            hidden = self._last(self.model.hidden(self.text.token_ids[:, : max(lengths)], self.cache), lengths)
            self.cache.cut(lengths)
        else:
            hidden = self.model.hidden(self._at([length - 1 for length in lengths]), self.cache)[:, 0]
        return self.model.head(hidden).float()

    def _read_windows(self, lengths: list[int]) -> Tensor:
        seen = [min(length, self.context_length) for length in lengths]
        starts = torch.tensor([a - b for a, b in zip(lengths, seen, strict=True)], device=self.text.token_ids.device)
        columns = starts[:, None] + torch.arange(max(seen), device=starts.device)
        # a shorter row is filled up with what stands to its right: nothing before it looks there
        window = self.text.token_ids.gather(1, columns.clamp(max=self.text.token_ids.shape[1] - 1))
        return self._last(self.model.hidden(window), seen)

    def _last(self, hidden: Tensor, lengths: list[int]) -> Tensor:
        rows = torch.arange(len(lengths), device=hidden.device)
        return hidden[rows, torch.tensor(lengths, device=hidden.device) - 1]

    def _at(self, columns: list[int]) -> Tensor:
        """(B, 1) one token of each row."""
        return self.text.token_ids.gather(1, torch.tensor(columns, device=self.text.token_ids.device)[:, None])
