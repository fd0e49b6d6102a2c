"""Each widget in a plain page: what its script shows equals what Python computes, by keyboard, by mouse, by buttons."""

from __future__ import annotations

import html
import json
import math
import re
from decimal import Decimal

import pytest
import torch

from helpers.classroom import cards
from helpers.classroom.cards import _stepper
from helpers.classroom.cards._card import Card
from tests.browser import latency
from tests.browser.conftest import SCREENSHOTS
from tests.browser.looks import SMALLEST_TEXT, STICKING_OUT

pytestmark = pytest.mark.browser
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>widget</title><body style="margin:12px">{}</body>'
NUMBER = re.compile(r"[-+−]?\d[\d,]*\.?\d*(?:e[-+]\d+)?")
# Read every element that carries data-key: its own text and all its attributes.
READ = """root => Object.fromEntries([...root.querySelectorAll("[data-key]")].map(e => [e.dataset.key,
  {text: e.textContent, attributes: Object.fromEntries([...e.attributes].map(a => [a.name, a.value]))}]))"""
MOVES = {"cost": ("tokens", "rate"), "die": ("faces", "w1", "w2", "rolled"), "predictors": ("loss", "confidence")}


def numbers() -> dict:
    torch.manual_seed(0)
    scores = torch.randn(7, 50257)
    return _stepper.stepper_numbers(lambda ids: scores[ids % 7], "every effort moves you", "I really like chocolate")


def stepper_card() -> Card:
    config, attributes = numbers(), 'data-arrows="step" data-fed="yes"'
    template = _stepper._template()
    return Card(
        kind="stepper",
        title="Six steps",
        template=template,
        values={"step": 1},
        config=config,
        compute=_stepper.stepper_state,
        attributes=attributes,
    )


def card(kind: str) -> Card:
    makers = {
        "cost": cards.cost,
        "die": cards.perplexity_die,
        "predictors": cards.unsure_or_wrong,
        "stepper": stepper_card,
    }
    return makers[kind]()


def show(page, *cards: Card) -> None:
    page.set_content(PAGE.format("".join(c.markup(f"{c.kind}-{i}") for i, c in enumerate(cards, 1))))
    for i, c in enumerate(cards, 1):
        page.wait_for_selector(f"#{c.kind}-{i}[data-live]")


def inputs(page, root: str) -> dict[str, float]:
    script = (
        "root => Object.fromEntries([...root.querySelectorAll('[data-in]')].map(e => [e.dataset.in, Number(e.value)]))"
    )
    return page.eval_on_selector(root, script)


def compare(page, shown: Card, root: str) -> dict[str, float]:
    """The page's texts and attributes against the Python twin at the page's own inputs; returns those inputs."""
    values = inputs(page, root)
    parts = page.eval_on_selector(root, READ)
    config = json.loads(page.get_attribute(root, "data-config"))
    for key, expected in shown.compute(values, config).items():
        part, _, attribute = key.partition("@")
        found = parts[part]["attributes"].get(attribute) if attribute else parts[part]["text"]
        same = found == expected or near(found, expected)
        same = same or (attribute.startswith("data-") and math.isclose(float(found), float(expected), rel_tol=1e-9))
        assert same, f"{key} at {values}: page {found!r}, Python {expected!r}"
    return values


def near(found: str | None, expected: str | None) -> bool:
    if found is None or expected is None or NUMBER.sub("#", found) != NUMBER.sub("#", expected):
        return False
    pairs = list(zip(NUMBER.findall(found), NUMBER.findall(expected), strict=True))
    return all(("," in a) == ("," in b) and close(as_decimal(a), as_decimal(b)) for a, b in pairs)


def close(ours: Decimal, theirs: Decimal) -> bool:
    return last_digit(ours) == last_digit(theirs) and abs(ours - theirs) <= last_digit(theirs)


def as_decimal(shown: str) -> Decimal:
    return Decimal(shown.replace(",", "").replace("−", "-"))


def last_digit(number: Decimal) -> Decimal:
    """One unit of the last digit that is written, 0 for a whole number: two exponentials may differ in their last bit
    and round apart, and a wrong formula differs by more."""
    place = number.as_tuple().exponent
    return Decimal(1).scaleb(place) if place else Decimal(0)


def test_near_allows_a_last_digit_and_no_more() -> None:
    assert near("1.23 nats of 5", "1.24 nats of 5") and near("−0.05", "−0.06") and near("2.1e-05", "2.2e-05")
    assert not near("1.23 nats", "1.25 nats") and not near("1.23 nats", "1.23 bits") and not near(None, "1")
    assert not near("1.23", "1.2") and not near("10", "10.0") and not near("1234.5 x", "1,234.5 x")
    assert not near("46 %", "47 %") and not near("1,234.5", "1,234.7") and not near("2.1e-05", "2.3e-05")


@pytest.mark.parametrize("kind", ["cost", "die", "predictors"])
def test_sliders_agree_with_python_over_a_grid(page, kind: str) -> None:
    shown, root = card(kind), f"#{kind}-1"
    show(page, shown)
    compare(page, shown, root)
    seen = []
    for name in MOVES[kind]:
        handle = page.locator(f"{root} [data-in={name}]")
        handle.focus()
        for key in ["Home", "ArrowRight", "PageUp", "PageUp", "ArrowUp", "End", "ArrowLeft", "PageDown"]:
            page.keyboard.press(key)
            seen.append(compare(page, shown, root)[name])
        box = handle.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        for share in (0.1, 0.3, 0.55, 0.8, 0.97):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            seen.append(compare(page, shown, root)[name])
        page.mouse.up()
    assert len(set(seen)) > 6 * len(MOVES[kind]) / 2, "the sliders moved"
    grid(page, shown, root)
    page.locator(root).screenshot(path=SCREENSHOTS / f"widget_{kind}_moved.png")


def grid(page, shown: Card, root: str) -> None:
    """All pairs of five settings of the first two sliders."""
    first, second = MOVES[shown.kind][:2]
    for a in range(5):
        for b in range(5):
            for name, k in ((first, a), (second, b)):
                script = """(e, k) => { e.value = Number(e.min) + (Number(e.max) - Number(e.min)) * k / 4;
                    e.dispatchEvent(new Event("input", {bubbles: true})); }"""
                page.eval_on_selector(f"{root} [data-in={name}]", script, k)
            compare(page, shown, root)


def test_keys_that_move_a_card_stay_in_it(page) -> None:
    """VS Code listens at the window, where ArrowDown goes to the next cell and Delete deletes this one."""
    show(page, card("die"))
    page.evaluate(
        "() => { window.heard = []; window.addEventListener('keydown', (event) => { window.heard.push(event.key); }); }"
    )
    for part in ("[data-in=w2]", "button"):
        page.locator(f"#die-1 {part}").first.focus()
        for key in ("ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Enter", "Delete", "Backspace", "d"):
            page.keyboard.press(key)
    assert page.evaluate("window.heard") == []
    for key in ("Control+s", "Shift+Enter", "Escape"):
        page.keyboard.press(key)
    assert page.evaluate("window.heard") == ["Control", "s", "Shift", "Enter", "Escape"], "what runs a cell goes on"


@pytest.mark.parametrize("kind", ["cost", "die", "stepper"])
def test_buttons_work(page, kind: str) -> None:
    shown, root = card(kind), f"#{kind}-1"
    show(page, shown)
    for button in page.locator(f"{root} button").all():
        button.click()
        compare(page, shown, root)


def test_the_stepper_goes_through_its_steps_by_keyboard(page) -> None:
    shown = card("stepper")
    show(page, shown)
    page.locator("#stepper-1 button", has_text="Next").focus()
    for step in range(2, 8):
        page.keyboard.press("ArrowRight")
        assert compare(page, shown, "#stepper-1")["step"] == min(step, 6)
        page.locator("#stepper-1").screenshot(path=SCREENSHOTS / f"widget_stepper_{min(step, 6)}.png")
    page.keyboard.press("ArrowLeft")
    page.locator("#stepper-1 [data-in=step]").focus()
    page.keyboard.press("Home")
    assert compare(page, shown, "#stepper-1")["step"] == 1


def test_the_stepper_takes_new_numbers_from_the_kernel(page) -> None:
    shown = card("stepper")
    show(page, shown)
    fed = shown.config | {"error": "The first sentence needs 2 to 9 tokens, got nothing <b>"}
    fed["sentences"] = [shown.config["sentences"][1], shown.config["sentences"][0]]
    feed = f'<div data-feed="stepper-1" data-config="{html.escape(json.dumps(fed))}" hidden></div>'
    page.evaluate("markup => document.body.insertAdjacentHTML('beforeend', markup)", feed)
    page.wait_for_selector("#stepper-1 .cw-error:visible")
    compare(page, shown, "#stepper-1")
    assert page.text_content("#stepper-1 [data-key=s0]") == "“I really like chocolate”"


def test_of_two_cards_of_one_name_each_hears_its_own_cell(page) -> None:
    """As after a restart, when the first cell's output is old, or with two notebooks open in one page."""
    shown = card("stepper")
    markup = shown.markup("stepper-1")
    page.set_content(PAGE.format("".join(f'<div><div class="cell">{markup}</div></div>' for _ in range(2))))
    page.wait_for_function("() => document.querySelectorAll('#stepper-1[data-live]').length == 2")
    first, second = shown.config["sentences"]
    add = "([i, markup]) => document.querySelectorAll('.cell')[i].insertAdjacentHTML('beforeend', markup)"
    for i, fed in ((1, [second, first]), (0, [second, second])):
        config = html.escape(json.dumps(shown.config | {"sentences": fed}))
        page.evaluate(add, [i, f'<div data-feed="stepper-1" data-config="{config}" hidden></div>'])
        now = page.locator("[data-key=s0]").nth(i)
        now.filter(has_text=fed[0]["text"]).wait_for()
        shows = [page.locator(f"[data-key={key}]").nth(0).text_content() for key in ("s0", "s1")]
        assert shows == [f"“{s['text']}”" for s in ([first, second] if i else [second, second])]


def test_several_cards_on_a_page_and_one_id_twice(page) -> None:
    one, two = cards.cost(), cards.cost(1e9, 1e4)
    show(page, one, two, cards.perplexity_die())
    page.locator("#cost-2 [data-in=rate]").press("End")
    compare(page, one, "#cost-1")
    assert page.text_content("#cost-1 [data-key=time]") == "7.7 months"
    assert compare(page, two, "#cost-2")["rate"] != two.values["rate"]
    show(page, one)  # a restarted kernel counts from 1 again while an older card still stands below
    page.evaluate(
        """markup => { const old = document.createElement("div"); document.body.append(old); old.innerHTML = markup;
        const script = document.createElement("script"); script.textContent = old.querySelector("script").textContent;
        document.body.append(script); }""",
        two.markup("cost-1"),
    )
    assert page.locator("#cost-1[data-live]").count() == 2
    page.locator("#cost-1 [data-in=rate]").nth(1).press("End")
    assert page.locator("#cost-1 [data-key=time]").nth(0).text_content() == "7.7 months"
    assert page.locator("#cost-1 [data-key=time]").nth(1).text_content() == "1.0 seconds"


def test_without_scripts_the_first_state_stands(browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 700})
    page = context.new_page()
    for kind in ("cost", "die", "predictors", "stepper"):
        page.set_content(PAGE.format(card(kind).markup(f"{kind}-1")))
        assert page.locator(f"#{kind}-1 [data-key=summary]").is_visible() and page.locator(".cw-still").is_visible()
        assert page.locator(f"#{kind}-1 .cw-body").is_visible()
        page.screenshot(path=SCREENSHOTS / f"widget_{kind}_900px.png", full_page=True)
    context.close()


@pytest.mark.parametrize("kind", ["cost", "die", "predictors", "stepper"])
@pytest.mark.parametrize("width", [450, 520, 700, 900, 1280])
def test_nothing_sticks_out_and_text_is_large(page, kind: str, width: int) -> None:
    """In a column of a wide window, as beside a side bar: what counts is the card's width and not the window's."""
    markup = card(kind).markup(f"{kind}-1")
    page.set_content(PAGE.format(f'<div style="width:{width}px">{markup}</div>'))
    root = page.locator(f"#{kind}-1[data-live]")
    root.wait_for()
    for step in range(1, 7 if kind == "stepper" else 2):
        if kind == "stepper":
            page.locator(f"[data-key=step{step}]").click()
        assert page.eval_on_selector(f"#{kind}-1", STICKING_OUT) == [], f"step {step}"
        assert page.eval_on_selector(f"#{kind}-1", SMALLEST_TEXT) >= 15
    root.screenshot(path=SCREENSHOTS / f"widget_{kind}_{width}px_wide.png")


@pytest.mark.parametrize("kind", ["cost", "die", "predictors", "stepper"])
def test_latency_is_measured(page, kind: str) -> None:
    """From the input event to the frame after it: script, then paint. Printed, not judged."""
    show(page, card(kind))
    assert latency.of_moves(page, f"#{kind}-1", "input[type=range]", kind).median > 0
