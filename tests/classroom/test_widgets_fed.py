"""The three cards whose model runs in the kernel: what they tell the page, and what the model is read with."""

import copy
import re

import pytest
import torch
from torch import Tensor

from helpers.classroom import cards
from helpers.gpt import GPT, GPTConfig, gpt2
from tests.cards import SCORES, BreakableModel, by_last_token, told
from tests.support import refused

FED = {"sampling": cards.next_token, "tree": cards.sampling_tree, "stepper": cards.loss_stepper}
every_fed_card = pytest.mark.parametrize("kind", FED)


@pytest.fixture
def gpt() -> GPT:
    config = GPTConfig(vocab_size=50257, context_length=5, emb_dim=10, n_heads=2, n_layers=1, drop_rate=0.9)
    return GPT(config).train()


def exactly(gpt: GPT, prompt: str) -> Tensor:
    """(V,) by one whole forward pass over what fits."""
    anew = copy.deepcopy(gpt).eval()
    with torch.no_grad():
        return anew(torch.tensor([gpt2().encode(prompt)[-5:]]))[0, -1]


@every_fed_card
def test_it_is_told_wherever_it_is_displayed(kind: str, capsys: pytest.CaptureFixture) -> None:
    card = FED[kind](by_last_token)
    for _ in range(2):
        card._ipython_display_()  # outside IPython, display prints the plain texts
    first, second = card.card_ids
    card.lines[0].value = "another try"
    assert re.fullmatch(rf"{kind}-\d+", first) and f'data-feed="{first} {second}"' in card.feed.value
    assert "“another try”" in repr(card), "shown again it shows what was typed"


@every_fed_card
def test_what_fails_is_shown_or_refused(kind: str) -> None:
    model = BreakableModel(by_last_token)
    card = FED[kind](model)
    model.error = RuntimeError("no <memory> left")
    card.lines[0].value = "another try"
    assert told(card)["error"].startswith("The model failed: RuntimeError: no <memory> left.")
    model.error = None
    card.lines[0].value = "one more"
    assert not told(card).get("error")
    refused(r"50,257 tokens, got scores of shape \(.*11,?\)", FED[kind], lambda ids: torch.zeros(*ids.shape, 11))
    refused(r"empty|got nothing", FED[kind], by_last_token, "")


@every_fed_card
def test_dropout_is_off_and_the_model_left_in_the_mode_it_was_in(kind: str, gpt: GPT) -> None:
    one, two = (FED[kind](gpt, "a b").card().config for _ in range(2))
    assert gpt.training and one == two


def test_every_prompt_has_the_scores_of_a_whole_forward_pass(gpt: GPT) -> None:
    card, n_read = cards.next_token(gpt, "one two"), []
    gpt.blocks[0].register_forward_hook(lambda _module, inputs, _out: n_read.append(inputs[0].shape[1]))
    for prompt in ("one two three", "one two three four", "one two nine", "a b c d e", "a b c d e f"):
        card.lines[0].value = prompt
        torch.testing.assert_close(card.logits, exactly(gpt, prompt), atol=1e-5, rtol=1e-5)
    assert n_read[::2] == [1, 1, 3, 5, 5], "between the exact ones only the rest is read; a window that slides is new"
    card.lines[0].value = "one two"
    with torch.no_grad():
        gpt.blocks[0].attention.qkv.weight.mul_(3)
    card.lines[0].value = "one two three"
    torch.testing.assert_close(card.logits, exactly(gpt, "one two three"), msg="trained meanwhile, and not read anew")


def test_typing_tells_the_page_the_scores_of_the_new_prompt() -> None:
    card = cards.next_token(by_last_token, "The captain")
    for prompt in ("Não é só um café", "☕ 🙂", "a <b>bold</b> \"word\" & 'more'", " "):
        card.lines[0].value = prompt
        ids = gpt2().encode(prompt)
        expected = cards.sampling(SCORES[ids[-1] % 7], gpt2(), prompt=prompt).config
        assert told(card).items() >= {name: expected[name] for name in ("steps", "groups", "names", "prompt")}.items()
        assert told(card)["note"] == f"The prompt has {len(ids)} token{'s' * (len(ids) > 1)}." and told(card)["ms"] > 0
    before = card.config
    card.lines[0].value = ""
    assert told(card)["error"].startswith("The prompt is empty") and told(card)["steps"] == before["steps"]
    card.lines[0].value = "The"
    assert told(card)["error"] is None and told(card)["prompt"] == "The"


def test_too_long_a_prompt_is_read_from_its_end_and_the_card_says_so(gpt: GPT) -> None:
    card = cards.next_token(gpt, "one two three four five")
    assert card.config["note"] == "The prompt has 5 tokens."
    card.lines[0].value = "word " * 50
    assert told(card)["note"] == "The prompt has 51 tokens: the model reads only the last 5, the first 46 are not seen."
    assert len(told(card)["prompt"]) == 60 and told(card)["prompt"].startswith("…") and told(card)["error"] is None
