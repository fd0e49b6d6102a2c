"""Writing: against a loop by hand, with the cache and without, prompts of different lengths, endings, the stream."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers.gpt import GPT, GPTConfig, generate, next_probs, stream, stream_text, tokenizer
from helpers.labs import pretrained
from tests.support import lively, refused

TINY = GPTConfig(vocab_size=13, context_length=5, emb_dim=12, n_heads=2, n_layers=1, drop_rate=0.4)
WIDER = GPTConfig(53, 31, emb_dim=28, n_heads=7, n_layers=3, drop_rate=0.1, position_offset=2, qkv_bias=True)
PROMPTS = torch.tensor([[1, 2, 3], [7, 0, 12]])
STRATEGIES = [
    {"temperature": 0},
    {},
    {"temperature": 0.7, "top_k": 11},
    {"temperature": 1.3, "top_p": 0.8},
    {"min_p": 0.1, "filters_first": False, "temperature": 1.5},
    {"temperature": 0, "repetition_penalty": 1.7},
    {"top_k": 17, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
    {"temperature": math.inf, "top_k": 5},
]


@pytest.fixture
def model() -> GPT:
    return lively(GPT(TINY), by=0.3).train()


@pytest.fixture(scope="module")
def wider() -> GPT:
    torch.manual_seed(0)
    return lively(GPT(WIDER), by=0.3)


def by_hand(model: GPT, ids: list[int], n_new: int, generator: torch.Generator, **settings) -> list[int]:
    """One row, no cache, no batch, its own window."""
    model.eval()
    ids = list(ids)
    for _ in range(n_new):
        with torch.no_grad():
            logits = model(torch.tensor([ids[-model.config.context_length :]]))[0, -1]
        seen = torch.zeros(len(logits), dtype=torch.bool)
        seen[ids] = True
        p = next_probs(logits, seen, **settings)
        greedy = settings.get("temperature") == 0
        ids.append(int(p.argmax() if greedy else torch.multinomial(p, 1, generator=generator)))
    return ids


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("settings", STRATEGIES)
def test_equals_a_loop_by_hand_also_past_the_context(wider, settings, use_cache):
    for start in range(8):
        prompt = torch.arange(start, start + 3 + 5 * start) * 7 % 53
        own, other = (torch.Generator().manual_seed(start) for _ in range(2))
        got = generate(wider, prompt[None], 23, generator=own, use_cache=use_cache, **settings)
        assert got[0].tolist() == by_hand(wider, prompt.tolist(), 23, other, **settings)


@pytest.mark.parametrize("settings", STRATEGIES)
def test_the_cache_changes_no_token(wider, settings):
    """Forty prompts of 1 to 40 tokens in one batch: some begin beyond the context, some grow past it, some never do."""
    torch.manual_seed(1)
    prompts = [torch.randint(53, (n,)) for n in range(1, 41)]
    for some in (prompts[:12], prompts):  # 12 + 19 = 31 tokens: there the cache serves to the end
        with_cache, without = (generate(wider, some, 19, use_cache=use, **settings) for use in (True, False))
        assert [row.tolist() for row in with_cache] == [row.tolist() for row in without]
    alone = [generate(wider, [row], 19, **settings)[0].tolist() for row in prompts[::13]]
    assert settings.get("temperature") != 0 or alone == [row.tolist() for row in with_cache[::13]], "rows are apart"


def test_greedy_and_its_limits(model):
    got = generate(model, PROMPTS, 9, temperature=0)
    assert model.training, "the mode must be put back"
    assert got.dtype == torch.int64
    for limit in ({"top_k": 1}, {"temperature": 1e-30}):  # without overflow
        assert torch.equal(generate(model, PROMPTS, 9, **limit), got)
    assert torch.equal(generate(model, PROMPTS, 0), PROMPTS)
    torch.nn.init.constant_(model.final_norm.bias, math.nan)
    for settings in ({"temperature": 0}, {}, {"temperature": 0, "repetition_penalty": 1.2}):
        refused("a score is nan", generate, model, PROMPTS, 1, **settings)


def test_draws_come_from_the_given_generator_and_no_other(model):
    before = torch.get_rng_state()
    first = generate(model, PROMPTS, 20)
    assert torch.equal(first, generate(model, PROMPTS, 20))
    own = torch.Generator().manual_seed(0)
    assert torch.equal(first, generate(model, PROMPTS, 20, generator=own))
    assert not torch.equal(first, generate(model, PROMPTS, 20, generator=own))  # it has moved on
    assert torch.equal(before, torch.get_rng_state())
    assert not first.requires_grad


@pytest.mark.parametrize("prompts", [[[5, 1], [2] * 9, [7, 8, 9]], torch.tensor([[5, 1], [9, 2]])], ids=type)
def test_each_row_ends_at_its_own_end(wider, prompts):
    """A matrix is filled up with the end, and stops when all have ended."""
    free = generate(wider, prompts, 20, temperature=0)
    written = [row[len(prompt) :].tolist() for row, prompt in zip(free, prompts, strict=True)]
    end = written[0][6]
    stops = [row.index(end) + 1 if end in row else 20 for row in written]
    assert stops[0] <= 7
    ended = generate(wider, prompts, 20, temperature=0, end_id=end)
    for row, prompt, whole, stop in zip(ended, prompts, written, stops, strict=True):
        filled = [end] * (max(stops) - stop) if isinstance(prompts, torch.Tensor) else []
        assert row[len(prompt) :].tolist() == whole[:stop] + filled
    prompts[0][1] = end  # an end in the prompt ends nothing
    assert len(generate(wider, prompts, 3, temperature=0, end_id=end)[0]) > 2


def test_a_stream_gives_what_generate_gives_one_step_at_a_time(wider):
    prompts = torch.tensor([[5, 1], [2, 2]])
    whole = generate(wider.train(), prompts, 12, temperature=0.9)
    steps = stream(wider, prompts, 12, temperature=0.9)
    assert isinstance(steps, Iterator)
    first = next(steps)
    assert wider.training and first.shape == (2,) and torch.is_grad_enabled(), "nothing is left switched between steps"
    assert torch.equal(torch.stack([first, *steps], 1), whole[:, 2:])


def test_text_comes_in_pieces_that_make_the_whole():
    model, words = pretrained.load(), tokenizer.gpt2()
    assert len(list(stream_text(model, words, "a" + " " * 10**6 + "b", 1, temperature=0))) == 1
    pieces = list(stream_text(model, words, "It was a", 12, temperature=0))
    ids = generate(model, [words.encode("It was a")], 12, temperature=0)[0]
    assert "It was a" + "".join(pieces) == words.decode(ids.tolist()) and len(pieces) == 12
    padded = GPT(GPTConfig(50304, 5, 12, 2, 1))
    with pytest.raises(ValueError, match=r"50,304 tokens and the tokenizer 50,257: .*resize_vocabulary"):
        next(stream_text(padded, words, "It", 3))


class Dictated(GPT):
    """Writes the given tokens, whatever it reads."""

    def __init__(self, token_ids: list[int], vocab_size: int) -> None:
        super().__init__(GPTConfig(vocab_size, 31, 2, 1, 1))
        self.script, self.head = torch.tensor(token_ids), torch.nn.Identity()

    def hidden(self, token_ids: torch.Tensor, cache: object = None) -> torch.Tensor:
        after = self.script[: token_ids.shape[1]][None, :, None]  # a prompt of one token
        return torch.nn.functional.one_hot(after, self.config.vocab_size)[:, :, 0].float()


def test_a_character_in_two_tokens_comes_once_and_half_of_one_is_marked():
    words = tokenizer.gpt2()
    halves = words.encode("🦜é")
    assert len(halves) > 2
    model = Dictated([*halves, halves[0], words.eot_token], words.n_vocab)
    assert list(stream_text(model, words, "I", 20, temperature=0, use_cache=False)) == ["🦜", "é", "\ufffd"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.uint32, np.uint64])
def test_prompts_of_other_whole_numbers_are_continued_alike(model, dtype):
    expected = generate(model, PROMPTS, 3, temperature=0)
    rows = PROMPTS.numpy().astype(dtype)
    assert torch.equal(generate(model, torch.from_numpy(rows), 3, temperature=0), expected)
    assert torch.equal(torch.stack(generate(model, list(rows), 3, temperature=0)), expected)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(({"n_new": n}, "n_new must be a whole number of at least 0") for n in (-1, 1.5)),
        ({"temperature": -0.1}, r"temperature must be in \[0, inf\]"),
        ({"top_k": 14}, r"\[1, 13\]"),
        ({"topk": 3}, "topk; there are temperature, top_k, top_p"),
        *(({"end_id": end}, r"end_id must be in \[0, 13\)") for end in (13, "\n", 5.0)),
        ({"n_new": 10**9}, "n_new must be at most 1,000,000"),
        ({"prompts": PROMPTS > 3}, "token ids must be whole numbers, got torch.bool"),
        *(({"prompts": none}, "at least one token") for none in (PROMPTS[:, :0], [])),
        *(({"prompts": none}, "list of sequences") for none in (PROMPTS[0], [1, 2], PROMPTS[0, 0], PROMPTS.float())),
        ({"prompts": "It was"}, r"got text: 'It was'\. stream_text\(model, tokenizer, prompt, n_new\)"),
        *(({"prompts": outside}, r"\[0, 13\)") for outside in (PROMPTS + 1, [[-1]])),
    ],
)
def test_refuses_before_the_first_token(model, changes, says):
    for write in (generate, lambda *a, **k: next(stream(*a, **k))):
        refused(says, write, model, **{"prompts": PROMPTS, "n_new": 1} | changes)
