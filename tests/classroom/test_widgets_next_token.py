"""The card for any prompt: what it feeds to the sampling card, without a browser."""

from __future__ import annotations

import copy
import html
import json
import re

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.classroom.cards import _next_token
from helpers.classroom.cards._sampling import sampling_config
from helpers.gpt import GPT, GPTConfig, gpt2
from tests.cards import BreakableModel

V = 50257


@pytest.fixture(scope="module")
def table() -> Tensor:
    return 3 * torch.randn(7, V, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def model(table: Tensor):  # a model of 50,257 scores that depend on the last token only
    return lambda token_ids: table[token_ids % 7]


@pytest.fixture(scope="module")
def gpt() -> GPT:
    config = GPTConfig(vocab_size=V, context_length=5, emb_dim=10, n_heads=2, n_layers=1, drop_rate=0.9)
    return GPT(config).train()


def fed(card: _next_token.NextToken) -> dict:
    return json.loads(html.unescape(re.search(r'data-config="([^"]*)"', card.feed.value)[1]))


def test_only_the_last_position_of_what_fits_is_read(gpt: GPT) -> None:
    with torch.no_grad():
        exact = gpt.eval()(torch.tensor([[3, 4, 5, 6, 7]]))[0, -1]
    gpt.train()
    assert _next_token.Reader(gpt).logits([1, 2, 3, 4, 5, 6, 7]) == pytest.approx(exact, abs=1e-5)
    assert gpt.training, "left in the mode it was in"
    with pytest.raises(ValueError, match="at least one token"):
        _next_token.Reader(gpt).logits([])


def test_a_plain_function_and_a_gpt_give_the_same(gpt: GPT) -> None:
    gpt.eval()
    as_function = _next_token.Reader(lambda ids: gpt(ids)).logits([9, 8])
    assert _next_token.Reader(gpt).logits([9, 8]) == pytest.approx(as_function, abs=1e-6)
    gpt.train()


def test_a_common_beginning_is_read_once_and_the_scores_stay_the_same(gpt: GPT) -> None:
    gpt.eval()
    reader, seen = _next_token.Reader(gpt), []
    gpt.blocks[0].register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0].shape[1]))
    texts = ([1, 2, 3], [1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 9, 4], [7, 2], [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 8])
    for ids in texts:
        with torch.no_grad():
            exact = gpt(torch.tensor([ids[-5:]]))[0, -1]
        assert reader.logits(list(ids)) == pytest.approx(exact, abs=1e-5)
    assert seen[1::2] == [3, 1, 2, 1, 2, 5, 1 + 4]  # every other call is the exact one; a window that slides is new
    gpt.blocks[0]._forward_hooks.clear()
    gpt.train()


def test_a_model_that_was_trained_meanwhile_is_read_anew(gpt: GPT) -> None:
    trained = copy.deepcopy(gpt)
    reader = _next_token.Reader(trained)
    reader.logits([5, 6, 7])
    with torch.no_grad():
        trained.blocks[0].attention.qkv.weight.mul_(3)
    torch.testing.assert_close(reader.logits([5, 6, 8]), _next_token.Reader(trained).logits([5, 6, 8]))


def test_typing_feeds_the_scores_of_the_new_prompt(model, table: Tensor) -> None:
    card = cards.next_token(model, "The captain")
    for prompt in ("Não é só um café", "☕ 🙂", "a <b>bold</b> \"word\" & 'more'", " "):
        card.box.value = prompt
        last = gpt2().encode(prompt)[-1]
        assert fed(card) == sampling_config(table[last % 7], gpt2(), prompt=prompt)
        assert f">{len(gpt2().encode(prompt))} token" in card.status.value
    assert re.search(r'data-ms="[\d.]+"', card.feed.value)


def test_an_empty_prompt_becomes_a_message_and_the_last_card_stays(model) -> None:
    card = cards.next_token(model, "The captain")
    before = card.config
    card.box.value = ""
    assert "The prompt is empty" in card.status.value
    assert fed(card)["error"].startswith("The prompt is empty") and fed(card)["logits"] == before["logits"]
    card.box.value = "The"
    assert fed(card)["error"] is None and "1 token<" in card.status.value
    with pytest.raises(ValueError, match="empty"):
        cards.next_token(model, "")


def test_too_long_a_prompt_is_read_from_its_end_and_the_card_says_so(gpt: GPT) -> None:
    card = cards.next_token(gpt, "one two three four five")
    assert "5 tokens" in card.status.value and "not seen" not in card.status.value
    card.box.value = "zero one two three four five six"
    assert "7 tokens: the model reads only the last 5, the first 2 are not seen" in card.status.value
    six = gpt2().encode("zero one two three four five six")[-5:]
    expected = sampling_config(_next_token.Reader(gpt).logits(six), gpt2())["logits"]
    assert fed(card)["logits"] == pytest.approx(expected, abs=1e-5)
    assert fed(card)["error"] is None
    card.box.value = "word " * 50
    assert len(fed(card)["prompt"]) == 60 and fed(card)["prompt"].startswith("…")


def test_an_error_of_the_model_is_shown(table: Tensor) -> None:
    model = BreakableModel(lambda token_ids: table[token_ids % 7])
    card = cards.next_token(model)
    model.error = RuntimeError("no <memory> left")
    card.box.value = "another"
    assert fed(card)["error"] == (
        "The model failed: RuntimeError: no <memory> left. Below: the last prompt that worked."
    )
    with pytest.raises(ValueError, match=r"50,257 tokens, got scores of shape \(11,\)"):
        cards.next_token(lambda ids: torch.zeros(*ids.shape, 11))


def test_a_small_model_runs_on_one_thread_and_the_setting_comes_back(gpt: GPT) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with _next_token.quickly(gpt):
            assert torch.get_num_threads() == 1
        with pytest.raises(RuntimeError), _next_token.quickly(gpt):
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_card_displays_and_describes_itself(model, capsys: pytest.CaptureFixture) -> None:
    card = cards.next_token(model)
    assert repr(card).startswith("next token: After “The captain”")
    card._ipython_display_()  # outside IPython, display prints the plain texts
    card._ipython_display_()
    first, second = card.card_ids
    assert re.fullmatch(r"sampling-\d+", first) and first != second
    card.box.value = "A word"
    assert f'data-feed="{first} {second}"' in card.feed.value
