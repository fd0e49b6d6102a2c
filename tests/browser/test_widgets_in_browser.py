"""The cards without a kernel in a plain page: by keyboard, by mouse, by buttons, on a phone."""

import dataclasses
import itertools
import re

import pytest
import torch

from helpers import language
from helpers.classroom import cards
from helpers.labs import scaling
from tests.browser import latency
from tests.browser.conftest import SCREENSHOTS
from tests.browser.looks import PAGE, SET, SMALLEST_TEXT, STICKING_OUT, agrees, feed, put
from tests.cards import CARDS, by_last_token, sanitised

pytestmark = pytest.mark.browser
MEDIAN_MS, P95_MS = 20, 40  # what a move may take until it is painted; the test fails at three times that
RED = "rgb(179, 38, 30)"
KINDS = [kind for kind in CARDS if "as it is" not in kind]
# laws with what a bootstrap could have made of them: the longest texts of the card
DRAWN = {
    name: [dataclasses.replace(law, a=law.a * (1 + 0.004 * k)) for k in range(41)]
    for name, law in {
        **scaling.PUBLISHED,
        "power of sum, E = 3.05 known": scaling.PUBLISHED["Hoffmann et al. 2022"],
    }.items()
}
STOPS = "e => Math.round((e.max - e.min) / (e.step || 1)) + 1"
# Bootstrap's rule, which Sphinx's and other themes bring, and the viewport of a phone
BOOTSTRAP = '<style>[hidden]{display:none!important}</style><meta name="viewport" content="width=device-width">'
# Every slider to its lowest or its highest stop.
TO_END = """(root, end) => { if (end) root.querySelectorAll("input[type=range]").forEach(e => { e.value = e[end]; });
    root.dispatchEvent(new Event("input", {bubbles: true})); }"""

# What is wider than its box, or, as a row's name, higher than its row.
BURST = """root => [
    ...root.querySelectorAll("button, th, td, summary, label, .cw-row, .mc-phase > span, .bc-row > span")]
  .filter(e => e.getClientRects().length && getComputedStyle(e).display !== "inline")
  .filter(e => e.scrollWidth > e.clientWidth + 1
    || e.tagName === "SPAN" && e.offsetHeight > e.parentElement.clientHeight + 1)
  .map(e => e.outerHTML.slice(0, 120))"""
MAY_GROW = 80  # px, of a card in Portuguese


def card(kind: str) -> cards.Card:
    if kind == "memory":
        return cards.memory_calculator("gpt2-124m", 16, 1024, fused_attention=False, chunked_loss=False)
    if kind == "size":
        return cards.best_size(laws=DRAWN, budgets={"a T4 for four hours": 1.9e17, "this notebook": 1.1e12})
    if kind == "sampling":  # 50,257 logits, as spread out as a small model's
        logits = 2 * torch.randn(50257, generator=torch.Generator().manual_seed(5))
        return cards.sampling(logits, [f"' word{i}'" for i in range(50257)], prompt="Once upon a time")
    return CARDS[kind]()


def show(page, *shown: cards.Card, width: int | None = None) -> None:
    """The cards in the page; `width`: in a column of so many px."""
    put(page, *shown, before=BOOTSTRAP + f'<div class="column" style="width:{width}px">' * bool(width))


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_moves_by_keyboard_and_by_mouse(page, kind: str) -> None:
    """After each move the page shows what the script says for where the controls now are."""
    root = f"#{kind}-1"
    show(page, card(kind))
    agrees(page, root)
    for handle in page.locator(f"{root} input[type=range]:visible").all():
        name, seen = handle.get_attribute("data-in"), set()
        assert page.locator(f"label[for='{handle.get_attribute('id')}']").count() == 1
        handle.focus()
        for key in ("Home", "ArrowRight", "PageUp", "End", "ArrowLeft"):
            page.keyboard.press(key)
            seen.add(agrees(page, root)[0][name])
            assert handle.get_attribute("aria-valuetext")
        box = handle.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        seen.add(agrees(page, root)[0][name])
        assert len(seen) >= min(4, handle.evaluate(STOPS)), name
    for menu in page.locator(f"{root} select").all():
        before = menu.input_value()
        assert menu.get_attribute("data-lm-suppress-shortcuts") == "true", "or JupyterLab takes the arrow keys"
        menu.focus()
        page.keyboard.press("ArrowUp" if before != "0" else "ArrowDown")
        assert menu.input_value() != before
        agrees(page, root)
    for button in page.locator(f"{root} button").all():
        button.press("Enter")
        agrees(page, root)
    page.locator(root).screenshot(path=SCREENSHOTS / f"widget_{kind}_moved.png")


def test_keys_that_move_a_card_stay_in_it(page) -> None:
    """VS Code listens at the window, where ArrowDown goes to the next cell and Delete deletes this one."""
    show(page, card("die"))
    page.evaluate("() => { window.heard = []; window.addEventListener('keydown', (event) => heard.push(event.key)); }")
    for part in ("[data-in=w2]", "button"):
        page.locator(f"#die-1 {part}").first.focus()
        for key in ("ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Enter", "Delete", "Backspace", "d"):
            page.keyboard.press(key)
    assert page.evaluate("window.heard") == []
    for key in ("Control+s", "Shift+Enter", "Escape"):
        page.keyboard.press(key)
    assert page.evaluate("window.heard") == ["Control", "s", "Shift", "Enter", "Escape"], "what runs a cell goes on"


def test_the_stepper_goes_on_with_the_arrows_and_takes_new_numbers(page) -> None:
    shown = card("stepper")
    show(page, shown)
    page.locator("#stepper-1 button", has_text="Next").focus()
    for step in range(2, 8):
        page.keyboard.press("ArrowRight")
        assert agrees(page, "#stepper-1")[0]["step"] == min(step, 6)
        assert page.eval_on_selector("#stepper-1", STICKING_OUT) == [], f"step {step}"
    fed = shown.config | {"error": "The first sentence needs 2 to 16 tokens, got nothing <b>"}
    fed["sentences"] = shown.config["sentences"][::-1]
    feed(page, "stepper-1", fed)
    page.wait_for_selector("#stepper-1 .cw-error:visible")
    agrees(page, "#stepper-1")
    assert page.text_content("#stepper-1 [data-key=s0]") == "“I really like chocolate”"


def test_the_longest_sentences_scroll_within_the_stepper(page) -> None:
    put(page, cards.loss_stepper(by_last_token, "eu gosto de pão de queijo", " a" * 16).card())
    heights = set()
    for _ in range(6):
        heights.add(page.locator("#stepper-1 .cw-scroll").bounding_box()["height"])
        page.locator("#stepper-1 button", has_text="Next").click()
    assert max(heights) < 300 and page.locator("#stepper-1 tbody tr:visible").count() == 2 + 10 + 15
    last = page.locator("#stepper-1 [data-key=r114b]")
    last.scroll_into_view_if_needed()
    assert last.is_visible() and page.locator("#stepper-1 .cw-scroll thead th").first.is_visible()


def test_the_die_is_rolled_and_rolled_anew(page) -> None:
    show(page, card("die"))
    page.locator("#die-1 button", has_text="loaded").click()
    curves = []
    for text in ("roll 100", "roll 100", "start again", "roll 100"):
        page.locator("#die-1 button", has_text=text).click()
        agrees(page, "#die-1")
        curves.append(page.get_attribute("#die-1 [data-key=curve]", "d"))
    assert page.text_content("#die-1 [data-key=rolls]").startswith("100 rolls: mean surprisal")
    assert not curves[2] and curves[0] != curves[3], "other rolls"


def test_a_cell_of_the_map_chooses_its_setting(page) -> None:
    show(page, card("grid"))
    page.locator("#grid-1 [data-key=cell402]").click()
    assert agrees(page, "#grid-1")[0] == {"rate": 4, "warmup": 0, "batch": 2}
    assert page.locator("#grid-1 [aria-pressed=true]").count() == 1


def test_of_two_cards_of_one_name_each_hears_its_own_cell(page) -> None:
    """As after a restart, when the first cell's output is old, or with two notebooks open in one page."""
    shown = card("stepper")
    markup = shown.markup("stepper-1")
    page.set_content(PAGE.format("".join(f'<div><div class="cell">{markup}</div></div>' for _ in range(2))))
    page.wait_for_function("() => document.querySelectorAll('#stepper-1[data-live]').length == 2")
    first, second = shown.config["sentences"]
    for i, fed in ((1, [second, first]), (0, [second, second])):
        feed(page, "stepper-1", shown.config | {"sentences": fed}, ".cell", i)
        page.locator("[data-key=s0]").nth(i).filter(has_text=fed[0]["text"]).wait_for()
        shows = [page.locator(f"[data-key={key}]").nth(0).text_content() for key in ("s0", "s1")]
        assert shows == [f"“{s['text']}”" for s in ([first, second] if i else [second, second])]


def test_several_cards_on_a_page_and_one_id_twice(page) -> None:
    one, two = cards.cost(), cards.cost()
    show(page, one, two, cards.perplexity_die())
    before = agrees(page, "#cost-2")[0]["rate"]
    page.locator("#cost-2 [data-in=rate]").press("End")
    agrees(page, "#cost-1")
    assert page.text_content("#cost-1 [data-key=time]") == "7.7 months"
    assert agrees(page, "#cost-2")[0]["rate"] != before
    show(page, one)  # a restarted kernel counts from 1 again while an older card still stands below
    page.evaluate(
        """markup => { const old = document.createElement("div"); document.body.append(old); old.innerHTML = markup;
        const script = document.createElement("script"); script.textContent = old.querySelector("script").textContent;
        document.body.append(script); }""",
        two.markup("cost-1"),
    )
    assert page.locator("#cost-1[data-live]").count() == 2
    page.locator("#cost-1 [data-in=rate]").nth(1).press("End")
    times = page.locator("#cost-1 [data-key=time]")
    assert [times.nth(i).text_content() for i in range(2)] == ["7.7 months", "5.0 minutes"]


@pytest.mark.parametrize(
    ("kind", "small"), [("memory", {"batch": 0, "chunked_loss": 1}), ("calculator", {"tokens": 0})]
)
def test_red_is_said_in_words_and_signs_too(page, kind: str, small: dict) -> None:
    root = f"#{kind}-1"
    show(page, card(kind))
    colour = "root => getComputedStyle(root).borderTopColor"
    assert page.eval_on_selector(root, colour) == RED
    assert page.text_content(f"{root} [data-key=sign]") == "✗"
    assert re.match("It does not fit|Too long", page.text_content(f"{root} [data-key=verdict]"))
    page.eval_on_selector(root, SET, small | ({"kept": 0} if kind == "memory" else {}))
    assert page.eval_on_selector(root, colour) != RED
    assert page.text_content(f"{root} [data-key=sign]") == "✓"
    assert page.text_content(f"{root} [data-key=verdict]") == "It fits"


@pytest.mark.parametrize("kind", KINDS)
def test_without_scripts_sentence_and_table_stand(browser, kind: str) -> None:
    """Where scripts are off, and where a sanitiser takes styles and attributes too."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page, shown = context.new_page(), card(kind)
    for markup in (shown.markup("x-1"), sanitised(shown.markup("x-1"))):
        page.set_content(PAGE.format(BOOTSTRAP + markup))
        assert page.get_by_text(shown.sentence).is_visible() and page.get_by_text(shown.still).is_visible()
        assert page.locator("table:visible tr").count() == len(shown.table) >= 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_sticks_out_and_text_is_large(page, kind: str) -> None:
    """In a phone's window of 390 px and in wider columns; a slider at its ends has the longest texts."""
    root, others = f"#{kind}-1", [card(other) for other in ("memory", "calculator") if other != kind]
    show(page, card(kind), *others, width=1256)  # their styles come later
    body = page.locator(f"{root} .cw-body").bounding_box()
    assert body["height"] > 200, "whatever a theme says of hidden elements"
    for width, end in itertools.product((366, 450, 600, 700, 900, 1256), (None, "min", "max")):
        page.set_viewport_size({"width": width + 24, "height": 720})
        page.evaluate("width => { document.querySelector('.column').style.width = `${width}px`; }", width)
        page.eval_on_selector(root, TO_END, end)
        assert page.eval_on_selector(root, STICKING_OUT) == [], (width, end)
        assert page.evaluate("document.documentElement.scrollWidth") <= width + 24, (width, end)
        assert page.eval_on_selector(root, SMALLEST_TEXT) >= 15
        if end is None:
            page.locator(root).screenshot(path=SCREENSHOTS / f"widget_{kind}_{width}px.png")


@pytest.mark.parametrize("kind", KINDS)
def test_in_portuguese_no_label_bursts_and_no_card_grows(page, kind: str) -> None:
    root = f"#{kind}-1"
    show(page, card(kind))
    english = page.eval_on_selector(root, "root => root.innerText")
    height, burst = page.locator(root).bounding_box()["height"], page.eval_on_selector(root, BURST)
    try:
        language.choose("pt_BR")
        show(page, card(kind))
    finally:
        language.choose(language.ENGLISH)
    assert page.eval_on_selector(root, "root => root.innerText") != english
    assert page.eval_on_selector(root, STICKING_OUT) == []
    assert len(page.eval_on_selector(root, BURST)) <= len(burst), page.eval_on_selector(root, BURST)
    assert page.locator(root).bounding_box()["height"] <= height + MAY_GROW


def test_a_prompt_is_not_translated(page) -> None:
    try:
        language.choose("pt_BR")
        show(page, cards.sampling_tree(by_last_token, "all tokens").card())
    finally:
        language.choose(language.ENGLISH)
    assert page.text_content("#tree-1 [data-key=prompt]") == "all tokens"
    assert page.text_content("#tree-1 [data-key=summary]").startswith("Depois de “all tokens” o token top-1 é ")


def test_a_move_keeps_the_card_s_height(page) -> None:
    page.set_viewport_size({"width": 1024, "height": 720})
    show(page, card("memory"))
    heights = set()
    for batch in range(0, 18, 3):
        page.eval_on_selector("#memory-1", SET, {"batch": batch, "fused_attention": 1, "chunked_loss": batch % 2})
        heights.add(page.locator("#memory-1").bounding_box()["height"])
    assert len(heights) == 1, "nothing below it jumps while a slider is dragged"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("cost", "tokens"), ("die", "w1"), ("predictors", "loss"), ("memory", "batch"), ("memory", "kept"),
     ("calculator", "tokens"), ("calculator", "rate"), ("stepper", "step"),
     ("sampling", "temperature"), ("sampling", "top_p"), ("sampling", "n_draws"), ("grid", "rate")],
)  # fmt: skip
def test_a_move_is_painted_at_once(page, kind: str, name: str) -> None:
    show(page, card(kind))
    found = latency.timed(page, f"#{kind}-1", latency.NEXT_STOP % name, f"{kind}, {name}", pause=3)
    assert found.median < 3 * MEDIAN_MS and found.p95 < 3 * P95_MS


def test_an_exported_page_lives(page) -> None:
    """What nbconvert makes of a notebook with two cards; its remote scripts left out."""
    nbformat = pytest.importorskip("nbformat")
    exporter = pytest.importorskip("nbconvert").HTMLExporter()
    markup = card("memory").markup("memory-1") + card("calculator").markup("calculator-1")
    output = nbformat.v4.new_output("display_data", {"text/html": markup, "text/plain": "card"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("card", outputs=[output])])
    body, _ = exporter.from_notebook_node(notebook)
    remote = r'<script[^>]*src="https?:[^>]*></script>|<script type="module">.*?</script>'
    page.set_content(re.sub(remote, "", body, flags=re.S))
    page.wait_for_selector("#calculator-1[data-live]")
    page.locator("#memory-1 [data-in=batch]").press("Home")
    assert page.text_content("#memory-1 [data-key=batch_text]") == "1 sequence"
    agrees(page, "#memory-1")
