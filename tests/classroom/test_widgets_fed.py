"""The three cards whose model runs in the kernel: what all of them tell the page."""

from __future__ import annotations

import re

import pytest
import torch

from helpers.classroom import cards
from tests.cards import BreakableModel, by_last_token, told

FED = {"sampling": cards.next_token, "tree": cards.sampling_tree, "stepper": cards.loss_stepper}
every_fed_card = pytest.mark.parametrize("kind", FED)


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
def test_an_error_of_the_model_is_shown(kind: str) -> None:
    model = BreakableModel(by_last_token)
    card = FED[kind](model)
    model.error = RuntimeError("no <memory> left")
    card.lines[0].value = "another try"
    assert told(card)["error"].startswith("The model failed: RuntimeError: no <memory> left.")
    model.error = None
    card.lines[0].value = "one more"
    assert not told(card).get("error")


@every_fed_card
def test_scores_of_another_vocabulary_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"50,257 tokens, got scores of shape \(.*11,?\)"):
        FED[kind](lambda ids: torch.zeros(*ids.shape, 11))
