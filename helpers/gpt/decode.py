"""One token after the other: prompts of any lengths side by side, as a stream or at once, with the cache or without.

Notebook 05. The loop stands in `stream`; how a token is chosen stands in `sampling`, whose names are offered here too.
"""

import codecs
from collections.abc import Iterator, Sequence
from numbers import Integral

import tiktoken
import torch
from torch import Tensor

from helpers.gpt.cache import KeyValueCache
from helpers.gpt.config import check_ids, require_kind, require_whole
from helpers.gpt.model import GPT, evaluating
from helpers.gpt.sampling import SamplingParams, keep_min_p, keep_top_k, keep_top_p, next_probs, penalise_repetition  # noqa: F401
from helpers.gpt.tokenizer import encode

MAX_NEW = 1_000_000  # tokens: room is made for all of them at first
Prompts = Tensor | Sequence[Tensor | Sequence[int]]


@torch.no_grad()
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
    """The new tokens as they come, dropout off: (B,) int64 a step, `end_id` for sequences that have ended.

    A text beyond the context is seen through its last tokens. All is checked when the first token is asked for.

    generator  where the draws come from, on the model's device; None: one seeded with 0. Never the global one
    use_cache  False computes every token anew, and gives the same tokens
    settings   as for `SamplingParams`; the rest, and ValueError, as for `generate`, which gives all at once
    """
    sampling, rows = SamplingParams.of(**settings), _as_rows(model, prompts)
    _check(rows, n_new, end_id, model.config.vocab_size)
    context_length, device = model.config.context_length, rows[0].device
    generator = torch.Generator(device).manual_seed(0) if generator is None else generator
    require_kind(torch.Generator, generator=generator)
    lengths = torch.tensor([len(row) for row in rows])  # (B,), on the CPU
    B, n_columns = len(rows), int(lengths.max()) + n_new
    # (B, n_columns), filled up with a row's first id: attention does not look there, and `seen` below has it anyway
    token_ids = torch.stack([torch.cat([row, row[:1].expand(n_columns - len(row))]).long() for row in rows])
    ended = torch.zeros(B, dtype=torch.bool, device=device)
    cache = model.new_cache(B, min(context_length, n_columns)) if use_cache else None
    for _ in range(n_new):  # the loop of notebook 01: score, choose, append
        if lengths.max() > context_length:
            cache = None  # the window slides from here on: every token moves to another position
        with evaluating(model):  # not around the loop: whoever takes the tokens may train between two of them
            logits = _next_logits(model, token_ids, lengths, cache)  # (B, V)
        seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, token_ids, True)  # (B, V) tokens that the text has
        chosen = sampling.choose(logits, seen, generator)  # (B,)
        if end_id is not None:
            chosen = torch.where(ended, end_id, chosen)
            ended |= chosen == end_id
        token_ids[torch.arange(B), lengths] = chosen
        lengths += 1
        yield chosen
        if end_id is not None and ended.all():
            return


def _next_logits(model: GPT, token_ids: Tensor, lengths: Tensor, cache: KeyValueCache | None) -> Tensor:
    """(B, V) scores, in float32, of what follows the first `lengths[b]` ids of each row b."""
    rows = torch.arange(len(lengths))
    if cache is not None and max(cache.lengths):  # all but the newest token of each row is cached
        newest = token_ids[rows, lengths - 1]  # (B,)
        return model.head(model.hidden(newest[:, None], cache)[:, 0]).float()
    # without a cache, or at first: all is read, also what fills shorter rows, which the cache then forgets
    n_read = lengths.clamp(max=model.config.context_length)  # of each row, up to its last token
    columns = (lengths - n_read)[:, None] + torch.arange(int(n_read.max()))  # (B, T)
    hidden = model.hidden(token_ids[rows[:, None], columns], cache)  # (B, T, C)
    if cache is not None:
        cache.cut(lengths.tolist())
    return model.head(hidden[rows, n_read - 1]).float()


def generate(
    model: GPT, prompts: Prompts, n_new: int, *, end_id: int | None = None, **options: object
) -> Tensor | list[Tensor]:
    """Continue each prompt by up to `n_new` tokens: what `stream` gives, with the prompts before it.

    prompts  (B, T) ids, or a list of B prompts of any lengths; `stream_text` takes a text
    end_id   a sequence ends after this token; None: no token ends it
    options  as for `stream`: generator, use_cache, temperature, top_k, top_p, min_p, repetition_penalty, filters_first
    return   of a list: a list of (T_b + n_b,), each with its end_id last. Of (B, T): (B, T + n), where a sequence that
             ended is filled up with end_id, and n is below n_new if all have ended

    ValueError: n_new outside [0, MAX_NEW], no prompt or an empty one, a text, an id outside [0, V), options out of
    range.
    """
    rows = _as_rows(model, prompts)
    steps = list(stream(model, rows, n_new, end_id=end_id, **options))
    rows = [row.long() for row in rows]
    written = torch.stack(steps, 1) if steps else rows[0].new_zeros(len(rows), 0)  # (B, n)
    if isinstance(prompts, Tensor):
        return torch.cat([torch.stack(rows), written], 1)
    written = [row.tolist() for row in written]
    stops = [new.index(end_id) + 1 if end_id in new else len(new) for new in written]
    return [torch.cat([row, row.new_tensor(new[:stop])]) for row, new, stop in zip(rows, written, stops, strict=True)]


def stream_text(model: GPT, tokenizer: tiktoken.Encoding, prompt: str, n_new: int, **options: object) -> Iterator[str]:
    """The continuation of one prompt as it comes, in pieces of whole characters: a token may hold half of one.

    options  as for `stream`. The text ends before `end_id`, which is the tokenizer's end-of-text token if not given

    ValueError: as for `generate`; also a model with more tokens than the tokenizer.
    """
    require_kind(GPT, model=model)
    require_kind(tiktoken.Encoding, tokenizer=tokenizer)
    require_kind(str, prompt=prompt)
    if model.config.vocab_size > tokenizer.n_vocab:
        raise ValueError(
            f"the model has {model.config.vocab_size:,} tokens and the tokenizer {tokenizer.n_vocab:,}: it could write "
            f"ids that the tokenizer cannot decode; weights.resize_vocabulary(model, {tokenizer.n_vocab}) shrinks it"
        )
    options = {"end_id": tokenizer.eot_token} | options
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for step in stream(model, [encode(tokenizer, prompt, special=True)], n_new, **options):
        token_id = step.item()
        if token_id != options["end_id"] and (piece := decoder.decode(tokenizer.decode_single_token_bytes(token_id))):
            yield piece
    if left := decoder.decode(b"", final=True):
        yield left


def _as_rows(model: GPT, prompts: Prompts) -> list[Tensor]:
    require_kind(GPT, model=model)
    if not hasattr(prompts, "__iter__") or getattr(prompts, "ndim", 1) == 0:
        raise ValueError(f"expected prompts (B, T) or a list of sequences of token ids, got {type(prompts).__name__}")
    rows = [prompts] if isinstance(prompts, str) else list(prompts)
    if any(isinstance(row, str) for row in rows):
        raise ValueError(
            f"expected prompts of token ids, (B, T) or a list of sequences, got text: {prompts!r}. "
            "stream_text(model, tokenizer, prompt, n_new) takes one; [tokenizer.encode(prompt)] are its ids"
        )
    try:
        return [torch.as_tensor(row, device=model.token_embedding.weight.device) for row in rows]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected prompts of token ids, got {prompts!r:.60} ({error})") from error


def _check(rows: list[Tensor], n_new: int, end_id: int | None, vocab_size: int) -> None:
    require_whole(at_least=0, at_most=MAX_NEW, n_new=n_new)
    if rows and all(row.ndim == 0 for row in rows):
        raise ValueError(f"expected (B, T) or a list of sequences, got one of {len(rows)} ids: [ids], or ids[None]")
    if not rows or any(row.ndim != 1 or not len(row) or row.is_floating_point() for row in rows):
        raise ValueError(
            "expected prompts (B, T) or a list of sequences, each with at least one token, "
            f"got {[tuple(row.shape) for row in rows]}"
        )
    for row in rows:
        check_ids(row, vocab_size)
    if end_id is not None and not (isinstance(end_id, Integral) and 0 <= end_id < vocab_size):
        raise ValueError(f"end_id must be in [0, {vocab_size}) or None, got {end_id!r}")
