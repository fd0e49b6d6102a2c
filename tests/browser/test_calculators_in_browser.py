"""The memory and the cost calculator in a page: equal to helpers.labs.budget over a grid, red in words, by keyboard."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from helpers.classroom import cards
from helpers.classroom.cards import _cost_state
from helpers.classroom.cards._card import Card
from helpers.gpt import preset
from helpers.labs import budget
from tests.browser import latency
from tests.browser.conftest import SCREENSHOTS
from tests.browser.looks import SMALLEST_TEXT
from tests.browser.test_sampling_in_browser import SET
from tests.browser.test_widgets_in_browser import PAGE, compare, show
from tests.cards import sanitised

pytestmark = pytest.mark.browser
MEDIAN_MS, P95_MS = 20, 40  # what a move may take until it is painted; the test fails at three times that
MEMORY, COST = "#memory-1", "#calculator-1"
RED = "rgb(179, 38, 30)"
TIGHT = {"fused_attention": False, "chunked_loss": False, "kept_logits_for_evaluation": 30_000}
# For each of many settings of the inputs, what the page then says under each key of the state.
SWEEP = """(root, [settings, keys]) => {
  const inputs = {}, parts = {};
  root.querySelectorAll("[data-in]").forEach(e => { inputs[e.dataset.in] = e; });
  root.querySelectorAll("[data-key]").forEach(e => { parts[e.dataset.key] = e; });
  return settings.map(values => {
    for (const name in values) inputs[name].value = values[name];
    root.dispatchEvent(new Event("input", {bubbles: true}));
    return keys.map(key => { const [part, attribute] = key.split("@");
      return attribute ? parts[part].getAttribute(attribute) : parts[part].textContent; });
  });
}"""
STICKS_OUT = """root => { const r = root.getBoundingClientRect(); return [...root.querySelectorAll("*")].filter(e => {
    const b = e.getBoundingClientRect(); return b.width > 3 && (b.right > r.right + 1 || b.left < r.left - 1
      || e.children.length === 0 && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline");
  }).map(e => e.outerHTML.slice(0, 90)); }"""


def memory_card() -> Card:
    return cards.memory_calculator("gpt2-124m", 16, 1024, **TIGHT)


def cost_card() -> Card:
    return cards.cost_calculator(2.5e9, 12_525, 8.5, watts=400, money_available=200, speeds={"this machine": 1234.5})


def swept(page, shown: Card, root: str, settings: list[dict]) -> list[tuple[dict, dict, dict]]:
    """(values, what the page says, what Python says) for each setting."""
    keys = list(shown.compute(shown.values, shown.config))
    found = page.eval_on_selector(root, SWEEP, [settings, keys])
    return [
        (values, dict(zip(keys, said, strict=True)), shown.compute(shown.values | values, shown.config))
        for values, said in zip(settings, found, strict=True)
    ]


def test_the_memory_is_the_budget_s_to_the_byte_over_a_grid(page) -> None:
    """Every model, precision, optimizer, switch and card; rows, tokens and kept logits go through all their stops."""
    shown, names = (
        memory_card(),
        ("model", "precision", "optimizer", "fused", "gradient_checkpointing", "chunked", "room"),
    )
    n = {name: len(shown.config[name]) for name in ("rows", "tokens", "kept")}
    sizes = (len(shown.config["models"]), 3, 2, 2, 2, 2, len(shown.config["rooms"]))
    settings = [
        dict(zip(names, setting, strict=True))
        | {"rows": 5 * i % n["rows"], "tokens": (i + i // 8) % n["tokens"], "kept": i // 3 % n["kept"] if i % 3 else 0}
        for i, setting in enumerate(itertools.product(*map(range, sizes)))
    ]
    show(page, shown)
    verdicts = set()
    for values, said, expected in swept(page, shown, MEMORY, settings):
        assert said == expected, f"at {values}: {[k for k in said if said[k] != expected[k]]}"
        verdicts.add((said["verdict"], said["enough"][:20]))
    assert len(settings) == 1152 and len(verdicts) == 3, "some fit, some do not, some not even together"
    for name, stops in n.items():
        assert {values[name] for values in settings} == set(range(stops)), name


def test_the_memory_s_advice_is_that_of_fits(page) -> None:
    shown = memory_card()
    show(page, shown)
    for name, rows, room in (("gpt2-355m", 64, 0), ("gpt2-1558m", 16, 2), ("opt-125m", 12, 0), ("gpt2-774m", 512, 3)):
        predicted = budget.memory(preset(name, drop_rate=0.0), rows, 1024, **TIGHT, device="cuda")
        fit = budget.fits(predicted, shown.config["bytes"][room])
        values = {"model": shown.config["models"].index(name), "rows": shown.config["rows"].index(rows), "room": room}
        page.eval_on_selector(MEMORY, SET, values)
        assert page.get_attribute(f"{MEMORY} [data-key=peak]", "data-bytes") == str(fit.peak_bytes)
        alone = page.locator(f"{MEMORY} [data-key^=alone][data-bytes]")
        found = [alone.nth(i).get_attribute("data-bytes") for i in range(alone.count())]
        assert not fit.fits and found == [str(change.peak_bytes) for change in fit.changes]
        said = page.text_content(f"{MEMORY} [data-key=enough]")
        assert ", then ".join(fit.together) in said and said.startswith("✗"), name
        assert fit.together or "Not even all of them" in said


def test_the_cost_is_the_budget_s_over_a_grid(page) -> None:
    shown = cost_card()
    stops = {name: len(list_) for name, list_ in shown.config["stops"].items()}
    settings = [{name: (7 * i + i * i * k) % n for k, (name, n) in enumerate(stops.items())} for i in range(600)]
    settings += [{name: last * (n - 1) for name, n in stops.items()} for last in (0, 1)]
    show(page, shown)
    verdicts = set()
    for values, said, expected in swept(page, shown, COST, settings):
        plan = _cost_state.plan_at(shown.values | values, shown.config)
        taken = budget.cost(plan.n_tokens, plan.tokens_per_s, plan.price, plan.watts)
        for key, number in (("time@data-hours", taken.hours), ("cost@data-money", taken.money)):
            assert float(said.pop(key)) == pytest.approx(number, rel=1e-12), f"{key} at {values}"
            del expected[key]
        kwh = said.pop("energy@data-kwh")
        assert taken.kwh is None if kwh is None else float(kwh) == pytest.approx(taken.kwh, rel=1e-12)
        del expected["energy@data-kwh"]
        differ = [key for key in said if said[key] != expected[key]]
        assert not differ, f"at {values}: {[(said[k], expected[k]) for k in differ]}"
        verdicts.add(said["verdict"])
    assert verdicts == {"It fits", "Too long", "Too expensive", "Too long and too expensive"}


@pytest.mark.parametrize(("root", "make"), [(MEMORY, memory_card), (COST, cost_card)])
def test_red_is_said_in_words_and_signs_too(page, root: str, make) -> None:
    shown = make()
    show(page, shown)
    colour = "root => getComputedStyle(root).borderTopColor"
    assert page.eval_on_selector(root, colour) == RED
    assert page.text_content(f"{root} [data-key=sign]") == "✗"
    assert re.match("It does not fit|Too long", page.text_content(f"{root} [data-key=verdict]"))
    assert page.get_attribute(f"{root} [data-key=summary]", "aria-live") == "polite"
    small = {"rows": 0, "fused": 1, "chunked": 1, "kept": 0} if root == MEMORY else {"tokens": 0}
    page.eval_on_selector(root, SET, small)
    assert page.eval_on_selector(root, colour) != RED
    assert page.text_content(f"{root} [data-key=sign]") == "✓"
    assert page.text_content(f"{root} [data-key=verdict]") == "It fits"
    compare(page, shown, root)


@pytest.mark.parametrize(("root", "make"), [(MEMORY, memory_card), (COST, cost_card)])
def test_every_control_moves_by_keyboard_and_by_mouse(page, root: str, make) -> None:
    shown = make()
    show(page, shown)
    for handle in page.locator(f"{root} input[type=range]").all():
        name, seen = handle.get_attribute("data-in"), set()
        assert page.locator(f"label[for='{handle.get_attribute('id')}']").is_visible()
        handle.focus()
        for key in ("Home", "ArrowRight", "PageUp", "End", "ArrowLeft"):
            page.keyboard.press(key)
            seen.add(compare(page, shown, root)[name])
            assert handle.get_attribute("aria-valuetext") == page.text_content(f"{root} [data-key={name}_text]")
        box = handle.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        seen.add(compare(page, shown, root)[name])
        assert len(seen) >= 5, name
    for menu in page.locator(f"{root} select").all():
        before = menu.input_value()
        assert page.locator(f"label[for='{menu.get_attribute('id')}']").is_visible()
        assert menu.get_attribute("data-lm-suppress-shortcuts") == "true", "or JupyterLab takes the arrow keys"
        menu.focus()
        page.keyboard.press("ArrowUp" if before != "0" else "ArrowDown")
        assert menu.input_value() != before
        compare(page, shown, root)
    for button in page.locator(f"{root} button").all():
        pressed = button.get_attribute("aria-pressed")
        button.press("Enter")
        assert pressed is None or button.get_attribute("aria-pressed") != pressed or "A100" in button.text_content()
        compare(page, shown, root)


@pytest.mark.parametrize(
    ("root", "make", "name"),
    [
        (MEMORY, memory_card, "rows"),
        (MEMORY, memory_card, "kept"),
        (COST, cost_card, "tokens"),
        (COST, cost_card, "rate"),
    ],
)
def test_a_move_is_painted_at_once(page, root: str, make, name: str) -> None:
    show(page, make())
    found = latency.of_moves(page, root, f"[data-in={name}]", f"{root[1:-2]}, {name}")
    assert found.median < 3 * MEDIAN_MS and found.p95 < 3 * P95_MS


@pytest.mark.parametrize("width", [600, 700, 1000, 1280])
@pytest.mark.parametrize(("root", "make"), [(MEMORY, memory_card), (COST, cost_card)])
def test_nothing_sticks_out_and_text_is_large(page, root: str, make, width: int) -> None:
    page.set_viewport_size({"width": width + 24, "height": 720})
    others = [card for card in (memory_card(), cost_card(), cards.cost()) if f"#{card.kind}-1" != root]
    show(page, make(), *others)  # whose styles come later
    fitting = {"rows": 1, "fused": 1, "chunked": 1, "kept": 0} if root == MEMORY else {"tokens": 0, "money": 60}
    widest = {"rows": 14, "kept": 13, "model": 5} if root == MEMORY else {"tokens": 189, "rate": 0, "price": 90}
    for state, values in (("red", {}), ("fitting", fitting), ("widest", widest)):
        page.eval_on_selector(root, SET, values)
        page.locator(root).screenshot(path=SCREENSHOTS / f"widget_{root[1:-2]}_{state}_{width}px.png")
        assert page.eval_on_selector(root, STICKS_OUT) == [], state
    assert page.eval_on_selector(root, SMALLEST_TEXT) >= 15


def test_a_move_keeps_the_card_s_height(page) -> None:
    page.set_viewport_size({"width": 1024, "height": 720})
    show(page, memory_card())
    heights = set()
    for rows in range(0, 18, 3):
        page.eval_on_selector(MEMORY, SET, {"rows": rows, "fused": 1, "chunked": rows % 2})
        heights.add(page.locator(MEMORY).bounding_box()["height"])
    assert len(heights) == 1, "nothing below it jumps while a slider is dragged"


def test_an_exported_page_lives_and_without_scripts_the_first_state_stands(browser, page) -> None:
    markup = memory_card().markup("memory-1") + cost_card().markup("calculator-1")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1024, "height": 720})
    still = context.new_page()
    still.set_content(PAGE.format(markup))
    for root, peak in ((MEMORY, "peak"), (COST, "time")):
        assert still.locator(f"{root} [data-key={peak}]").is_visible()
        assert still.locator(f"{root} .cw-still").is_visible() and not still.locator(f"{root} .cw-plain").is_visible()
        assert still.eval_on_selector(root, "e => getComputedStyle(e).borderTopColor") == RED
        assert still.eval_on_selector(root, STICKS_OUT) == []
    still.screenshot(path=SCREENSHOTS / "widget_calculators_no_script.png", full_page=True)
    still.set_content(PAGE.format(sanitised(markup)))
    assert still.get_by_text("█").first.is_visible() and still.locator("table:visible").count() == 2
    assert still.get_by_text("✗ Change").first.is_visible()
    context.close()
    pytest.importorskip("nbconvert")
    page.set_content(exported(markup))
    page.wait_for_selector(f"{COST}[data-live]")
    page.locator(f"{MEMORY} [data-in=rows]").press("Home")
    assert page.text_content(f"{MEMORY} [data-key=rows_text]") == "1 row"
    compare(page, memory_card(), MEMORY)


def exported(markup: str) -> str:
    """What nbconvert makes of a notebook whose one output this is; its remote scripts left out."""
    import nbformat
    from nbconvert import HTMLExporter

    output = nbformat.v4.new_output("display_data", {"text/html": markup, "text/plain": "card"})
    cell = nbformat.v4.new_code_cell("card", outputs=[output])
    body, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert json.dumps("memory-1") in json.dumps(body) or "memory-1" in body
    return re.sub(r'<script[^>]*src="https?:[^>]*></script>|<script type="module">.*?</script>', "", body, flags=re.S)
