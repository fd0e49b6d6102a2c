"""Every stored output on a projector of 1280 x 720: JupyterLab's presentation mode leaves it 600 px of height."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import ROOT, SCREENSHOTS, VIEWPORT, Lab

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MOST = 600  # px
READABLE = 15  # px
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
TYPE = """() => [".jp-RenderedMarkdown p", ".jp-RenderedMarkdown td", ".cm-content", ".jp-RenderedText pre"].map((part) =>
  parseFloat(getComputedStyle(document.querySelector(`.jp-NotebookPanel ${part}`)).fontSize))"""
HIDDEN = """() => jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.inputHidden).map((cell) => cell.model.id)"""


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
    assert all(heights.values()) and min(presenting.evaluate(TYPE)) >= READABLE
    tall = {cell: round(height) for cell, height in heights.items() if height > MOST}
    print(
        f"\n{stem}: " + ", ".join(f"{cell} {height:.0f}" for cell, height in heights.items() if height > 0.8 * MOST),
        end="",
    )
    assert not tall, f"higher than {MOST} px in presentation mode: {tall}"
