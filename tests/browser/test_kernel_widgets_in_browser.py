"""The cards whose model runs in the kernel, in JupyterLab: they answer, by mouse and by keyboard, and soon enough."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.classroom import cards
from helpers.gpt import gpt2
from tests.browser import latency
from tests.browser.conftest import SCREENSHOTS, VIEWPORT, Lab
from tests.browser.looks import agrees, feed, put
from tests.browser.test_notebooks_in_lab import run_cells
from tests.cards import by_last_token, drawn, script

pytestmark = pytest.mark.browser
LIMIT_MS = 400  # for a machine that does much else; the times themselves are printed
LOAD = "from helpers.classroom import cards\nfrom helpers.labs import pretrained\nmodel = pretrained.load()"
# Counts the frames without branches to choose from, and the heights that the card has.
WATCH_FRAMES = """() => { window.blank = 0; window.heights = new Set();
  const card = document.querySelector("#tree-1"), column = card.querySelector("[data-key=c3]");
  const look = () => { if (column.hidden || !column.querySelector("span").textContent) window.blank += 1;
    window.heights.add(Math.round(card.offsetHeight)); requestAnimationFrame(look); };
  look(); }"""


def tree_page(page, n_drawn: int = 3) -> dict:
    """A tree in a plain page; returns its first numbers."""
    tree = cards.sampling_tree(by_last_token)
    card = replace(tree.card(), config=drawn(tree, n_drawn))
    put(page, card)
    return card.config


def tree_of(page, root: str = "#tree-1") -> dict:
    return agrees(page, root)[1]


def path_of(config: dict) -> list[int]:
    return [step[0] for step in config["path"]]


def test_without_a_kernel_the_first_steps_of_the_tree_work(page) -> None:
    first = tree_page(page)
    assert path_of(tree_of(page)) == path_of(first)
    best = first["nodes"][""][0]
    page.click("text=Start again")
    assert path_of(tree_of(page)) == [] and page.is_disabled("text=One step back")
    page.click("[data-branch='33']")
    page.click("text=Take the top-1 token")
    config = tree_of(page)
    assert path_of(config) == [best[3], first["nodes"][str(best[3])][0][0]]
    assert [step[3] for step in config["path"]] == ["your choice", "top-1"]
    page.click("[data-branch='11']")  # a road not taken at the first step
    assert path_of(tree_of(page)) == [best[1]]
    page.click("[data-branch='35']")
    config = tree_of(page)
    assert path_of(config) == [best[1]] and config["notice"].startswith("The rest is 50,252 tokens with")
    for _ in range(3):
        page.click("text=Take the top-1 token")
    config = tree_of(page)
    assert len(config["path"]) == 3 and "run this cell" in config["notice"]
    assert "has to be asked" in page.inner_text("#tree-1")
    page.click("text=One step back")
    assert len(tree_of(page)["path"]) == 2
    page.locator("#tree-1").screenshot(path=SCREENSHOTS / "tree_no_kernel.png")


def test_two_cards_of_one_tree_know_their_own_answers(page) -> None:
    """Both ask at the same moment, in a cell that holds the line of both and what the kernel says to either."""
    tree = cards.sampling_tree(lambda ids: torch.zeros(*ids.shape, gpt2().n_vocab))
    lines = "".join(f'<div class="cw-of-tree-{i}"><p class="cw-ask"><input></p></div>' for i in (1, 2))
    page.add_init_script("Date.now = () => 5")
    page.goto("about:blank")
    put(page, tree.card(), tree.card(), after=lines)
    questions = []
    for i in (1, 2):
        page.click(f"#tree-{i} [data-do=draw]")
        questions.append(json.loads(page.input_value(f".cw-of-tree-{i} input")))
    feed(page, "tree-1 tree-2", tree.answer(questions[1]))
    page.wait_for_function("() => JSON.parse(document.querySelector('#tree-2').dataset.config).path.length == 1")
    assert len(tree_of(page)["path"]) == 0


def test_draws_without_a_kernel_follow_the_branches(page) -> None:
    first = tree_page(page, n_drawn=0)
    probs = script("tree").call("branchProbs", first["nodes"][""], 10, None)
    best, below = first["nodes"][""][0], 0.0
    for j, p in enumerate(probs):
        page.click("text=Start again", force=True)
        page.evaluate("u => { Math.random = () => u; }", below + p / 2)
        page.click("text=Draw the next token")
        config = tree_of(page)
        assert path_of(config) == ([best[j]] if j < 5 else [])
        below += p
    assert config["notice"].startswith("The draw fell on the rest, 50,252 tokens")


def test_the_tree_by_keyboard(page) -> None:
    tree_page(page)
    at = "() => document.activeElement.dataset.branch"
    page.locator("[data-branch='30']").focus()
    for key, expected in zip(("Down", "Down", "Left", "Up", "Right"), ("31", "32", "22", "21", "31"), strict=True):
        page.keyboard.press(f"Arrow{key}")
        assert page.evaluate(at) == expected
    page.locator("[data-branch='10']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    config = tree_of(page)
    assert len(config["path"]) == 2 and config["path"][1][3:] == ["your choice", 1]
    snapshot = page.locator("#tree-1").aria_snapshot()
    assert 'group "step 1 · drawn"' in snapshot and "[pressed]" in snapshot and 'slider "temperature"' in snapshot


@pytest.mark.parametrize(("kind", "event"), [("sampling", "input"), ("stepper", "change"), ("tree", "input")])
def test_a_card_says_where_no_kernel_answers(page, kind: str, event: str) -> None:
    """A line that nobody hears, as after a restart; the message goes when an answer comes after all."""
    makers = {"sampling": cards.next_token, "stepper": cards.loss_stepper, "tree": cards.sampling_tree}
    card = makers[kind](by_last_token).card()
    page.clock.install()
    put(page, card, after=f'<div class="cw-lines cw-of-{kind}-1"><input></div>')
    page.locator(".cw-lines input").dispatch_event(event)
    page.clock.run_for(4000)
    assert page.is_hidden(f"#{kind}-1 .cw-error")
    page.clock.run_for(2000)
    assert "was restarted, run this cell again" in page.inner_text(f"#{kind}-1 .cw-error")
    feed(page, f"{kind}-1", {"reset": card.config} if kind == "tree" else card.config)
    page.locator(f"#{kind}-1 .cw-error").wait_for(state="hidden")


RESTART = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"


def test_after_a_restart_in_lab_each_card_says_so(browser, lab: Lab) -> None:
    context = browser.new_context(viewport=VIEWPORT)  # of its own: ipywidgets throws where a line's kernel is gone
    page = context.new_page()
    calls = ["cards.next_token(model)", "cards.sampling_tree(model)", "cards.loss_stepper(model)"]
    run_cells(page, lab, "restart", [LOAD, *calls])
    lines = page.locator(".cw-lines input:visible")
    lines.nth(3).wait_for()
    page.evaluate(RESTART)
    page.wait_for_timeout(2000)
    for i, name in ((0, "sampling-1"), (1, "tree-1"), (2, "stepper-1")):
        lines.nth(i).fill("something else")
        lines.nth(i).press("Enter")
        page.locator(f"#{name} .cw-error:visible", has_text="was restarted, run this cell again").wait_for()
    page.screenshot(path=SCREENSHOTS / "cards_after_a_restart.png")
    context.close()


def test_the_tree_in_lab(page, lab: Lab) -> None:
    run_cells(page, lab, "tree", [LOAD, "cards.sampling_tree(model)"])
    page.wait_for_selector("#tree-1[data-live]")
    page.wait_for_selector(".cw-of-tree-1 .cw-ask input", state="attached")
    card = page.locator("#tree-1")
    card.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "tree_lab.png")
    tree_of(page)
    for action, n, how in (
        ("text=Draw the next token", 1, "drawn"), ("text=Take the top-1 token", 2, "top-1"),
        ("[data-branch='33']", 3, "your choice"), ("[data-branch='35']", 4, "drawn from the rest"),
        ("[data-branch='24']", 4, "your choice"),
    ):  # fmt: skip
        page.click(action)
        page.wait_for_function(
            "n => JSON.parse(document.querySelector('#tree-1').dataset.config).path.length == n", arg=n
        )
        page.wait_for_function(
            "how => JSON.parse(document.querySelector('#tree-1').dataset.config).path.at(-1)[3] == how", arg=how
        )
        assert page.locator("[data-key=h3]").text_content() == f"{n + 1} · next token"
        tree_of(page)
    page.locator("#tree-1 [data-in=back]").press("End")
    tree_of(page)
    page.screenshot(path=SCREENSHOTS / "tree_lab_back.png")
    type_prompts(page)
    draws_are_soon_there(page)
    page.screenshot(path=SCREENSHOTS / "tree_lab_long.png")


def type_prompts(page) -> None:
    box = page.locator(".cw-lines input:visible")
    for text in ("Não é só um café ☕ 🙂", "It was a <b>dark</b> night and"):
        box.fill(text)
        page.wait_for_function("t => document.querySelector('#tree-1 [data-key=prompt]').textContent == t", arg=text)
        page.click("text=Draw the next token")
        page.wait_for_function("() => JSON.parse(document.querySelector('#tree-1').dataset.config).path.length == 1")
        tree_of(page)
    box.fill("")
    page.locator("#tree-1 .cw-error:visible", has_text="The prompt is empty").wait_for()
    page.screenshot(path=SCREENSHOTS / "tree_lab_error.png")
    box.fill("The captain")
    page.locator("#tree-1 .cw-error").wait_for(state="hidden")


def draws_are_soon_there(page) -> None:
    page.evaluate(WATCH_FRAMES)
    draw = "card.querySelector('[data-do=draw]').click()"
    times = latency.timed(page, "#tree-1 [data-key=text]", draw, "tree, draw")
    latency.timed(page, "#tree-1", latency.NEXT_STOP % "temperature", "tree, temperature in the page")
    blank, heights = page.evaluate("() => [window.blank, [...window.heights]]")
    assert blank == 0 and len(heights) <= 4, f"{blank} frames without branches, heights {heights}"
    assert times.median < LIMIT_MS, "the machine may be busy, but not that busy"
    n = len(tree_of(page)["path"])
    page.evaluate("() => { for (let i = 0; i < 40; i++) document.querySelector('[data-do=draw]').click(); }")
    page.wait_for_timeout(1500)
    assert n + 1 <= len(tree_of(page)["path"]) <= n + 2, "one under way and the last one: no backlog"


def test_what_is_shown_in_two_cells_is_alive_in_both(page, lab: Lab) -> None:
    cells = [LOAD, "tree = cards.sampling_tree(model)", "tree", "tree", "card = cards.next_token(model)"]
    run_cells(page, lab, "twice", [*cells, "card", "card"])
    for name in ("tree-1", "tree-2"):
        page.wait_for_selector(f".cw-of-{name} .cw-ask input", state="attached")
        assert len(tree_of(page, f"#{name}")["path"]) == 0, "what the other one drew is not its own"
        page.click(f"#{name} [data-do=draw]")
        page.wait_for_function(
            "id => JSON.parse(document.getElementById(id).dataset.config).path.length == 1", arg=name
        )
    lines = page.locator(".cw-lines input:visible")
    lines.nth(0).fill("The tree")
    lines.nth(3).fill("The line")
    for i in (1, 2):
        page.locator(f"#tree-{i} [data-key=summary]", has_text="After “The tree”").wait_for()
        page.locator(f"#sampling-{i} [data-key=summary]", has_text="After “The line”").wait_for()


def test_any_prompt_in_lab(page, lab: Lab) -> None:
    run_cells(page, lab, "next", [LOAD, "cards.next_token(model)"])
    page.wait_for_selector("#sampling-1[data-live]")
    box = page.locator(".cw-lines input:visible")
    box.wait_for()
    page.locator("#sampling-1").scroll_into_view_if_needed()
    summary = page.locator("#sampling-1 [data-key=summary]")
    assert "After “The captain”" in summary.text_content()
    for text in ("Não é só um café ☕ 🙂", "a <b>bold</b>"):
        box.fill(text)
        summary.filter(has_text=f"After “{text}”").wait_for()
    box.fill("")
    page.locator("#sampling-1 .cw-error:visible", has_text="The prompt is empty").wait_for()
    page.screenshot(path=SCREENSHOTS / "next_token_lab_error.png")
    box.fill("word " * 300)
    page.locator("#sampling-1", has_text="the model reads only the last 256").wait_for()
    assert page.locator("#sampling-1 .cw-error").is_hidden()
    box.fill("")
    sentence = "It was the best of times, it was the worst of times"
    box.press_sequentially(sentence)
    summary.filter(has_text=f"After “{sentence}”").wait_for()
    act = (
        "const e = document.querySelector('.cw-lines input'); e.value = 'The captain ' + 'abcdefgh'[i % 8];"
        "e.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    times = latency.timed(page, "#sampling-1 [data-key=summary]", act, "next token, a key")
    assert times.median < LIMIT_MS
    page.screenshot(path=SCREENSHOTS / "next_token_lab.png")
