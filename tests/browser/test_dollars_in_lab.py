"""Prices in JupyterLab: MathJax makes a formula of `R$ 1 to R$ 2`, and leaves cards and tables alone."""

from __future__ import annotations

import pytest

from tests.browser.test_notebooks_in_lab import run_cells

pytestmark = pytest.mark.browser
CELLS = (
    "from IPython.display import HTML\nfrom helpers.classroom import cards, pages",
    "HTML('<p>R$ 1 to R$ 2</p>')",  # what would happen, so that the rest shows something
    "cards.sampling([1.0, 0.5, 0.0], prompt='$a$')",
    "pages.table([('R$ 1 to R$ 2',)], ['R$ and R$'], 'R$ 1 and R$ 2')",
)


def test_dollars_are_no_mathematics(page, lab) -> None:
    run_cells(page, lab, "dollars", list(CELLS))
    page.locator("mjx-container").first.wait_for(timeout=20_000)
    page.locator(".cw input[type=range]").first.press("ArrowRight")
    page.wait_for_timeout(500)
    formulas = [cell.locator("mjx-container").count() for cell in page.locator(".jp-CodeCell").all()[: len(CELLS)]]
    assert formulas == [0, 1, 0, 0]
    assert "$a$" in page.locator(".cw [data-key=summary]").inner_text()
