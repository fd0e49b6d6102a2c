"""On a projector of 1280 x 720 JupyterLab's presentation mode leaves 600 px: each stored output and each card fits."""

from collections.abc import Iterator

import pytest

from tests.browser.conftest import ROOT, SCREENSHOTS, VIEWPORT, Lab
from tests.browser.test_notebooks_in_lab import CARDS, run_cells
from tools.notebooks import numbered

pytestmark = pytest.mark.browser
NOTEBOOKS = [path.stem for path in numbered(ROOT / "notebooks")]
MOST = 600  # px
READABLE = 15  # px
LINE = 40  # px
PRESENT = """async () => { await jupyterapp.restored; jupyterapp.shell.collapseLeft();
  await jupyterapp.commands.execute("application:toggle-presentation-mode"); }"""
# Opened without a kernel, and trusted, as `make lab` has every notebook.
OPEN = """async (path) => {
  for (const open of [...jupyterapp.shell.widgets("main")]) open.dispose();
  const kernel = { shouldStart: false };
  const panel = await jupyterapp.commands.execute("docmanager:open", { path, factory: "Notebook", kernel });
  await panel.context.ready;
  for (const { model } of panel.content.widgets) if (model.type === "code") model.trusted = true;
  jupyterapp.shell.activateById(panel.id);
}"""
DRAWN = """() => { const panel = document.querySelector(".jp-NotebookPanel");
  return panel && panel.querySelectorAll(".jp-OutputArea-child").length && !panel.querySelector(".cw:not([data-live])")
    && [...panel.querySelectorAll("img")].every((image) => image.complete); }"""
HEIGHTS = """() => Object.fromEntries(jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type === "code" && cell.model.outputs.length)
  .map((cell) => [cell.model.id, cell.node.querySelector(".jp-OutputArea").getBoundingClientRect().height]))"""
PARTS = [".jp-RenderedMarkdown p", ".jp-RenderedMarkdown td", ".cm-content", ".jp-RenderedText pre"]
TYPE = """(parts) => parts.map((part) => parseFloat(
  getComputedStyle(document.querySelector(`.jp-NotebookPanel ${part}`)).fontSize))"""
FOLDED = """() => jupyterapp.shell.currentWidget.content.widgets.flatMap((cell, i) => cell.inputHidden ? [i] : [])"""


@pytest.fixture(scope="module")
def presenting(browser, lab: Lab) -> Iterator:
    """JupyterLab in its presentation mode."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.goto(f"{lab.address}/lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate(PRESENT)
    yield page
    context.close()


def open_stored(page, stem: str) -> None:
    page.evaluate(OPEN, f"notebooks/{stem}.ipynb")
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(300)  # formulas


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_every_stored_output_fits_the_screen(presenting, stem: str) -> None:
    open_stored(presenting, stem)
    heights = presenting.evaluate(HEIGHTS)
    presenting.screenshot(path=SCREENSHOTS / f"projector_{stem}.png")
    assert all(heights.values()) and min(presenting.evaluate(TYPE, PARTS)) >= READABLE
    tall = {cell: round(height) for cell, height in heights.items() if height > MOST}
    print(
        f"\n{stem}: " + ", ".join(f"{cell} {height:.0f}" for cell, height in heights.items() if height > 0.8 * MOST),
        end="",
    )
    assert not tall, f"higher than {MOST} px in presentation mode: {tall}"


def test_a_figures_folded_code_opens_at_a_click(presenting) -> None:
    """It takes a line of the screen until then, whatever its length."""
    open_stored(presenting, "04_the_training_loop")
    folded = presenting.evaluate(FOLDED)
    assert len(folded) >= 3
    cell = presenting.locator(".jp-NotebookPanel .jp-Notebook-cell").nth(folded[0])
    cell.scroll_into_view_if_needed()
    presenting.screenshot(path=SCREENSHOTS / "projector_folded.png")
    assert cell.locator(".jp-Cell-inputWrapper").bounding_box()["height"] < LINE
    cell.locator(".jp-InputPlaceholder .jp-Placeholder-contentContainer").click()
    cell.locator(".cm-content").wait_for(state="visible")
    assert presenting.evaluate(FOLDED) == folded[1:]


def test_every_card_fits_with_the_lines_below_it(page, lab: Lab) -> None:
    """As a class sees them: run, so that kernel cards have their lines."""
    run_cells(page, lab, "cards", list(CARDS))
    page.evaluate(PRESENT)
    page.wait_for_timeout(1000)
    heights = {f"{i} {CARDS[i]}": round(height) for i, height in enumerate(page.evaluate(HEIGHTS).values(), 1)}
    print("", *(f"{name[:40]}: {height}" for name, height in heights.items()), sep="\n", end="")
    assert len(heights) == len(CARDS) - 1 and max(heights.values()) <= MOST, heights
