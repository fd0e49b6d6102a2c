"""Every notebook in JupyterLab: it runs to its end without an error that was not meant, and its widgets answer."""

import json
import re
import time
from pathlib import Path

import nbformat
import pytest

from helpers.classroom import cards
from helpers.classroom import pages as page_helpers
from tests.browser.conftest import ROOT, SCREENSHOTS, VIEWPORT, Lab
from tools.notebooks import numbered

pytestmark = pytest.mark.browser
NOTEBOOKS = [path.name for path in numbered(ROOT / "notebooks")]
RUN_SECONDS = 180
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
  type: cell.model.type, count: cell.model.executionCount ?? null,
  tags: cell.model.getMetadata("tags") || [], source: cell.model.sharedModel.source,
  outputs: cell.model.outputs ? cell.model.outputs.toJSON() : [] }))"""
STATUS = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
CALLS = re.compile(rf"\bcards\.({'|'.join(cards.__all__)})\(")
CARDS = (  # each as large as it may be on a page of the course
    "from helpers.classroom import cards, pages\nfrom helpers.labs import pretrained\nmodel = pretrained.load()",
    "cards.cost()",
    "cards.perplexity_die()",
    "cards.unsure_or_wrong()",
    "cards.loss_stepper(model, 'eu gosto de pão de queijo')",
    "cards.next_token(model)",
    "cards.sampling_tree(model)",
    "cards.memory_calculator('opt-125m', batch_size=16, context_length=1024, fused_attention=False)",
    "cards.cost_calculator(2.5e9, 1234.5, 8.5, watts=400)",
    "cards.training_grid()",
    "cards.best_size()",
)
IDS = ["cost-1", "die-1", "predictors-1", "stepper-1", "sampling-1", "tree-1", "memory-1", "calculator-1", "grid-1"]
IDS += ["size-1", "cost-2"]
PAGES = (
    "cards.cost()",
    "pages.text_heatmap(['The', ' cat', ' sat', '.', '\\n', 'It', ' <b>', ' slept'], "
    "[None, 7.2, 2.1, 0.4, 1.0, 3.3, 10.8, 5.0], label='surprisal', unit='nats')",
    "pages.table([('uniform', 10.825, 50257), ('trained', 4.0, 54.6)], "
    "['model', 'loss, nats', 'perplexity'], 'Lower is better')",
)
DOLLARS = (
    "from IPython.display import HTML\nfrom helpers.classroom import cards, pages",
    "HTML('<p>R$ 1 to R$ 2</p>')",  # what would happen, so that the rest shows something
    "cards.sampling([1.0, 0.5, 0.0], prompt='$a$')",
    "pages.table([('R$ 1 to R$ 2',)], ['R$ and R$'], 'R$ 1 and R$ 2')",
)


def write_notebook(path: Path, sources: list[str], raising: int | None = None) -> None:
    """A notebook of code cells; the one numbered `raising` is tagged as meant to raise."""
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    if raising is not None:
        cells[raising].metadata["tags"] = ["raises-exception"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def open_notebook(page, lab: Lab, name: str) -> None:
    page.goto(lab.url(name))
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.ready; }")
    page.evaluate("() => jupyterapp.shell.collapseLeft()")


def run_all(page) -> list[dict]:
    """Runs the notebook to its end; returns its cells. Fails on an error without its tag, or if a cell did not run.

    Lab's run-all command comes back as soon as one cell raises, even where the tag lets the rest go on, so its return
    says nothing: what counts is that every code cell got a number in this run and that the kernel is idle again.
    """
    page.evaluate("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    assert not any(ran(cell) for cell in page.evaluate(CELLS)), "numbers of an earlier run would look like this one's"
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        cells = page.evaluate(CELLS)
        for cell in cells:
            errors = [o for o in cell["outputs"] if o["output_type"] == "error"]
            if errors and "raises-exception" not in cell["tags"]:
                raise AssertionError(f"{cell['source'][:200]}\n{errors[0]['ename']}: {errors[0]['evalue']}")
        waiting = [cell for cell in cells if cell["source"].strip() and cell["type"] == "code" and not ran(cell)]
        if not waiting and page.evaluate(STATUS) == "idle":
            return cells
        if time.monotonic() > deadline:
            left = [cell["source"][:200] for cell in waiting[:1]] or "still busy"
            raise AssertionError(f"not at its end after {RUN_SECONDS} s, {len(waiting)} cells did not run: {left}")
        page.wait_for_timeout(200)


def run_cells(page, lab: Lab, name: str, sources: list[str], raising: int | None = None) -> list[dict]:
    """Writes a notebook of these cells, opens it and runs it to its end; returns its cells."""
    write_notebook(lab.folder / "trial" / f"{name}.ipynb", sources, raising)
    open_notebook(page, lab, f"trial/{name}.ipynb")
    return run_all(page)


def ran(cell: dict) -> bool:
    return cell["type"] == "code" and cell["count"] is not None


def every_widget_answers(page, stem: str) -> int:
    """Moves the first slider of each card by keyboard; its texts must change. One picture of each."""
    cards = page.locator(".jp-NotebookPanel .cw")
    texts = "e => [...e.querySelectorAll('[data-key]')].map(x => x.textContent).join('|')"
    for i in range(cards.count()):
        card = cards.nth(i)
        card.scroll_into_view_if_needed()
        card.screenshot(path=SCREENSHOTS / f"{stem}_widget_{i + 1}.png")
        before = card.evaluate(texts)
        handle = card.locator("input[type=range]").first
        handle.focus()  # which makes the cell the active one
        cell_before = page.evaluate("() => jupyterapp.shell.currentWidget.content.activeCellIndex")
        handle.press("ArrowRight")
        handle.press("ArrowDown" if card.evaluate(texts) == before else "ArrowUp")
        assert card.evaluate(texts) != before, f"{stem}: card {i + 1} does not answer"
        cell_after = page.evaluate("() => jupyterapp.shell.currentWidget.content.activeCellIndex")
        assert cell_after == cell_before, "the arrow keys moved the slider, not the notebook"
    return cards.count()


def type_sentences(page, stem: str) -> int:
    """Types other sentences under each stepper; good ones show, bad ones become a message."""
    boxes = page.locator("[class*=cw-of-stepper-]")
    for i in range(boxes.count()):
        first, second = (boxes.nth(i).locator("input").nth(k) for k in (0, 1))
        card = page.locator(".cw[id^=stepper-]").nth(i)
        first.fill("the cat sat on the mat")
        first.press("Enter")
        if i:  # 02's second one has a model of the story's words
            card.locator("[data-key=error]", has_text="the first sentence has others").wait_for()
            continue
        card.locator("[data-key=s0]", has_text="the cat sat on the mat").wait_for()
        assert "5 and 3 targets" in card.locator("[data-key=note]").text_content()
        second.fill("you")
        second.press("Enter")
        card.locator("[data-key=error]", has_text="got 1 token").wait_for()
        card.screenshot(path=SCREENSHOTS / f"{stem}_stepper_{i + 1}_message.png")
        second.fill("we sleep <i>now</i>")
        second.press("Enter")
        card.locator("[data-key=s1]", has_text="we sleep <i>now</i>").wait_for()
        card.locator("button", has_text="6 negated").click()
        assert "F.cross_entropy" in card.locator("[data-key=result]").text_content()
        assert not card.locator("[data-key=error]").is_visible()
        card.scroll_into_view_if_needed()
        page.screenshot(path=SCREENSHOTS / f"{stem}_stepper_{i + 1}.png")
    return boxes.count()


def photograph(page, stem: str) -> None:
    """The notebook from top to bottom, one screen after the other."""
    scroll = "(e, y) => { e.scrollTop = y; return [e.scrollHeight, e.clientHeight, e.scrollTop]; }"
    outer, top, i = ".jp-NotebookPanel .jp-WindowedPanel-outer", 0, 0
    for i in range(1, 60):
        height, step, _ = page.eval_on_selector(outer, scroll, top)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        page.screenshot(path=SCREENSHOTS / f"{stem}_page_{i:02d}.png")
        top += step
        if top >= height:
            return


def test_run_all_waits_beyond_an_error_that_was_meant(page, lab: Lab) -> None:
    """Guards the guard: a run that stops early, or an error nobody announced, must not pass for a success."""
    sources = ["1 / 0", "import time; time.sleep(3)", "print('the end')"]
    assert run_cells(page, lab, "meant", sources, raising=0)[-1]["outputs"][0]["text"] == "the end\n"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_cells(page, lab, "not_meant", sources)


def test_every_kind_of_card_in_lab(page, lab: Lab) -> None:
    run_cells(page, lab, "trial", [*CARDS, *PAGES])
    assert every_widget_answers(page, "trial") == len(IDS)
    assert type_sentences(page, "trial") == 1
    photograph(page, "trial")
    assert page.eval_on_selector_all(".cw", "cards => cards.map(e => e.id)") == IDS
    first = page.evaluate(CELLS)[1]["outputs"]
    run_all(page)  # again in the same kernel: new ids, still alive
    assert page.locator("#cost-3[data-live]").count() == 1 and page.locator("#cost-1").count() == 0
    assert every_widget_answers(page, "trial") == len(IDS)
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
    assert run_all(page)[1]["outputs"] == first, "a run from the top gives the same ids and texts"
    assert every_widget_answers(page, "trial") == len(IDS)


def test_an_untrusted_notebook_that_was_not_run(page, lab: Lab) -> None:
    """What a sanitiser leaves: title, sentence and a word on how to get the rest; no heap of loose labels."""
    path = lab.folder / "trial" / "untrusted.ipynb"
    made = [cards.cost(), cards.perplexity_die(), cards.unsure_or_wrong()]
    made.append(page_helpers.text_heatmap(["The", " cat"], [1.0, 7.5], label="surprisal", unit="nats"))
    made.append(page_helpers.table([("a", 1.5)], ["model", "loss"], "one claim"))
    write_notebook(path, [repr(thing) for thing in made])
    stored = json.loads(path.read_text(encoding="utf-8"))
    for cell, thing in zip(stored["cells"], made, strict=True):
        data = {"text/html": thing._repr_html_(), "text/plain": repr(thing)}
        cell["outputs"] = [{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}]
        cell["execution_count"] = 1
    path.write_text(json.dumps(stored), encoding="utf-8")
    open_notebook(page, lab, "trial/untrusted.ipynb")
    page.wait_for_selector("text=Run this cell to move the sliders.")
    page.screenshot(path=SCREENSHOTS / "untrusted.png")
    shown = page.inner_text(".jp-NotebookPanel")
    assert "take 7.7 months" in shown and "entropy 1.79 nats" in shown and "Both have perplexity" in shown
    assert "100 million\n" not in shown and "tokens per second (log scale)" not in shown, (
        "no labels without their picture"
    )
    assert page.locator(".cw[data-live]").count() == 0 and page.locator(".cw svg").count() == 0


def test_dollars_are_no_mathematics(page, lab: Lab) -> None:
    """MathJax makes a formula of `R$ 1 to R$ 2`, and leaves cards and tables alone."""
    run_cells(page, lab, "dollars", list(DOLLARS))
    page.locator("mjx-container").first.wait_for(timeout=20_000)
    page.locator(".cw input[type=range]").first.press("ArrowRight")
    page.wait_for_timeout(500)
    formulas = [cell.locator("mjx-container").count() for cell in page.locator(".jp-CodeCell").all()[: len(DOLLARS)]]
    assert formulas == [0, 1, 0, 0]
    assert "$a$" in page.locator(".cw [data-key=summary]").inner_text()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_and_its_widgets_answer(page, lab: Lab, name: str) -> None:
    stem = Path(name).stem
    page.set_viewport_size(VIEWPORT)
    open_notebook(page, lab, f"notebooks/{name}")
    cells = run_all(page)
    page.wait_for_timeout(500)
    calls = [call for cell in cells if cell["type"] == "code" for call in CALLS.findall(cell["source"])]
    n_cards = every_widget_answers(page, stem)
    n_steppers = type_sentences(page, stem)
    assert (n_cards, n_steppers) == (len(calls), calls.count("loss_stepper")), f"the notebook calls {calls}"
    photograph(page, stem)
    n_ran = sum(map(ran, cells))
    print(f"\n{name}: {n_ran} cells ran, {n_cards} cards answered, {n_steppers} steppers took other sentences", end="")
