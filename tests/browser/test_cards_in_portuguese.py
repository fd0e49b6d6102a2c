"""Cards in Portuguese: the page speaks it, no label bursts its button or cell, and no card grows by a line or two."""

from __future__ import annotations

import pytest

from helpers import language
from tests.browser.looks import STICKING_OUT
from tests.browser.test_widgets_in_browser import KINDS, card, show

pytestmark = pytest.mark.browser
BURST = """root => [...root.querySelectorAll("button, th, td, summary, label, .cw-row")]
  .filter(e => e.getClientRects().length && getComputedStyle(e).display !== "inline")
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.outerHTML.slice(0, 120))"""
MAY_GROW = 80  # px


@pytest.fixture
def portuguese():
    yield lambda: language.choose("pt_BR")
    language.choose(language.ENGLISH)


@pytest.mark.parametrize("kind", KINDS)
def test_no_label_bursts(page, portuguese, kind: str) -> None:
    root = f"#{kind}-1"
    show(page, card(kind))
    height, burst, english = (
        page.locator(root).bounding_box()["height"],
        *(page.eval_on_selector(root, script) for script in (BURST, "root => root.innerText")),
    )
    portuguese()
    show(page, card(kind))
    assert page.eval_on_selector(root, "root => root.innerText") != english
    assert page.eval_on_selector(root, STICKING_OUT) == []
    assert len(page.eval_on_selector(root, BURST)) <= len(burst), page.eval_on_selector(root, BURST)
    assert page.locator(root).bounding_box()["height"] <= height + MAY_GROW
