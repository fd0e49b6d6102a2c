"""The sampling card in a plain page: its script equals Python everywhere, it answers at once, and it never is empty."""

from __future__ import annotations

import html
import json
import re

import pytest
import torch

from helpers.classroom import cards
from helpers.classroom.cards import _sampling
from helpers.classroom.cards._card import Card
from helpers.classroom.cards._distribution import sampling_config
from tests.browser import latency
from tests.browser.conftest import SCREENSHOTS
from tests.browser.looks import SMALLEST_TEXT
from tests.browser.test_widgets_in_browser import PAGE, compare, show
from tests.cards import sanitised

pytestmark = pytest.mark.browser
ROOT = "#sampling-1"
MEDIAN_MS, P95_MS = 20, 40  # what a move may take until it is painted; the test fails at three times that
WORDS = ["home", "away", "back", "down", "out", "in", "over", "on", "under"]
LOGITS = [3.2, 2.4, 2.4, 1.1, 0.6, 0.1, -0.5, -1.2, -3.0]
SLIDERS = ("temperature", "top_k", "top_p", "min_p", "n")
SET = """(root, values) => { for (const name in values) root.querySelector(`[data-in=${name}]`).value = values[name];
    root.dispatchEvent(new Event("input", {bubbles: true})); }"""
# Every frame of a drag: what the temperature says, and how many bars have a width.
FRAMES = """root => { window.seen = []; const look = () => { window.seen.push([
    root.querySelector("[data-key=temperature_text]").textContent,
    [...root.querySelectorAll(".cw-next .cw-bar")].filter(e => e.getBoundingClientRect().width > 0).length,
    root.getBoundingClientRect().height]);
    window.looking = requestAnimationFrame(look); }; look(); }"""
STICKS_OUT = """root => { const r = root.getBoundingClientRect(); return [...root.querySelectorAll("*")].filter(e => {
    const b = e.getBoundingClientRect(); return b.width > 2 && !e.closest(".cw-track")
      && (b.right > r.right + 1 || b.left < r.left - 1 || e.closest("tbody td") && e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e).display !== "inline"); }).map(e => e.outerHTML.slice(0, 80)); }"""


def big() -> Card:
    """50,257 logits, as spread out as a small model's."""
    logits = 2 * torch.randn(50257, generator=torch.Generator().manual_seed(5))
    return cards.sampling(logits, lambda i: f"' word{i}'", prompt="Once upon a time")


def card(name: str) -> Card:
    return big() if name == "big" else cards.sampling(LOGITS, WORDS)


@pytest.mark.parametrize("name", ["words", "big"])
def test_the_script_agrees_with_python_over_a_grid(page, name: str) -> None:
    shown = card(name)
    show(page, shown)
    compare(page, shown, ROOT)
    last = {key: int(page.get_attribute(f"{ROOT} [data-in={key}]", "max")) for key in SLIDERS}
    off = {"top_k": last["top_k"], "top_p": last["top_p"], "min_p": 0, "n": 3, "seed": 4}
    filters = [{"top_k": last["top_k"] * 3 // 4}, {"top_k": 3}, {"top_p": 20}, {"top_p": 94}, {"min_p": 1}]
    filters += [{}, {"min_p": 9}, {"min_p": last["min_p"]}, {"top_k": last["top_k"] - 3, "top_p": 90, "min_p": 2}]
    for temperature in (0, 1, 14, 28, last["temperature"]):
        for order in (0, 1):
            for chosen in filters:
                page.eval_on_selector(ROOT, SET, off | {"temperature": temperature, "order": order} | chosen)
                values = compare(page, shown, ROOT)
                other = shown.compute(values, shown.config)["other"]
                assert page.text_content(f"{ROOT} [data-key=other]") == other, "a count has no last digit to differ in"
    for n in range(last["n"] + 1):
        page.eval_on_selector(ROOT, SET, off | {"temperature": 25, "n": n, "seed": 3 + n})
        compare(page, shown, ROOT)


def test_every_slider_moves_by_keyboard_and_by_mouse(page) -> None:
    shown = big()
    show(page, shown)
    for name in SLIDERS:
        handle = page.get_by_label(re.compile(f"^{'draws' if name == 'n' else name.replace('_', '-')}"))
        handle.focus()
        seen = set()
        for key in ["Home", "ArrowRight", "PageUp", "ArrowUp", "End", "ArrowLeft", "PageDown"]:
            page.keyboard.press(key)
            seen.add(compare(page, shown, ROOT)[name])
            assert handle.get_attribute("aria-valuetext") == page.text_content(f"{ROOT} [data-key={name}_text]")
        box = handle.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        for share in (0.2, 0.6, 0.9):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            seen.add(compare(page, shown, ROOT)[name])
        page.mouse.up()
        assert len(seen) >= 6, name


def test_buttons_change_the_order_draw_again_and_undo(page) -> None:
    shown = card("words")
    show(page, shown)
    page.eval_on_selector(ROOT, SET, {"temperature": 30, "top_p": 69})
    first = page.text_content(f"{ROOT} [data-key=p0]")
    page.locator(f"{ROOT} button", has_text="temperature first").press("Enter")
    assert compare(page, shown, ROOT)["order"] == 1 and page.text_content(f"{ROOT} [data-key=p0]") != first
    assert page.get_attribute(f"{ROOT} [data-key=order1]", "aria-pressed") == "true"
    probs, drawn = ([page.text_content(f"{ROOT} [data-key={k}{i}]") for i in range(9)] for k in "pf")
    page.locator(f"{ROOT} button", has_text="draw again").click()
    assert compare(page, shown, ROOT)["seed"] == 2
    assert [page.text_content(f"{ROOT} [data-key=p{i}]") for i in range(9)] == probs
    assert [page.text_content(f"{ROOT} [data-key=f{i}]") for i in range(9)] != drawn
    page.locator(f"{ROOT} button", has_text="no filter").click()
    values = compare(page, shown, ROOT)
    assert {k: values[k] for k in ("temperature", "top_k", "top_p", "min_p")} == {
        k: shown.values[k] for k in ("temperature", "top_k", "top_p", "min_p")
    }


def test_it_takes_other_logits_from_the_kernel(page) -> None:
    shown = _sampling.sampling_card(big().config, fed=True)
    show(page, shown)
    page.eval_on_selector(ROOT, SET, {"temperature": 10})
    other = sampling_config(torch.linspace(-4, 4, 50257), prompt="She said “<b>”")
    feed = '<div data-feed="sampling-1" data-config="{}" hidden></div>'
    page.evaluate(
        "markup => document.body.insertAdjacentHTML('beforeend', markup)", feed.format(html.escape(json.dumps(other)))
    )
    page.wait_for_function("() => document.querySelector('[data-key=name0]').textContent === 'id 50256'")
    assert compare(page, shown, ROOT)["temperature"] == 10, "the sliders stay where they were"
    wrong = other | {"error": "The prompt is empty: type at least one character."}
    page.eval_on_selector(
        "[data-feed]", "(e, config) => { e.outerHTML = config; }", feed.format(html.escape(json.dumps(wrong)))
    )
    page.wait_for_selector(f"{ROOT} .cw-error:visible")
    compare(page, shown, ROOT)


@pytest.mark.parametrize("name", ["temperature", "top_p", "n"])
def test_a_move_is_painted_at_once(page, name: str) -> None:
    show(page, big())
    page.eval_on_selector(ROOT, SET, {"min_p": 1})
    found = latency.of_moves(page, ROOT, f"[data-in={name}]", f"sampling, {name}")
    assert found.median < 3 * MEDIAN_MS and found.p95 < 3 * P95_MS


def test_a_fast_drag_neither_flickers_nor_lags(page) -> None:
    show(page, big())
    page.eval_on_selector(ROOT, FRAMES)
    box = page.locator(f"{ROOT} [data-in=temperature]").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * ((i * 13) % 60) / 60), y)
    page.mouse.move(box["x"] + box["width"] - 3, y)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.text_content(f"{ROOT} [data-key=temperature_text]") == "∞, all kept alike", "the last value wins"
    page.mouse.up()
    seen = page.evaluate("() => { cancelAnimationFrame(window.looking); return window.seen; }")
    assert len({text for text, _, _ in seen}) > 10 and all(bars == 12 for _, bars, _ in seen)
    assert len({round(height) for _, _, height in seen}) == 1, "the card keeps its height"


@pytest.mark.parametrize("width", [480, 700, 900, 1280])
def test_nothing_sticks_out(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 720})
    states = {
        "first": {}, "greedy": {"temperature": 0, "n": 9}, "uniform": {"temperature": 39, "top_k": 4},
        "nucleus": {"top_p": 29},
        "temperature_first": {"order": 1, "temperature": 28, "top_p": 69, "min_p": 8, "n": 9},
        "groups": {"min_p": 1, "temperature": 25, "n": 0},
    }  # fmt: skip
    for name in ("words", "big"):
        shown = card(name)
        for state, values in states.items():
            show(page, shown)
            page.eval_on_selector(ROOT, SET, values)
            page.locator(ROOT).screenshot(path=SCREENSHOTS / f"widget_sampling_{name}_{state}_{width}px.png")
            assert page.eval_on_selector(ROOT, STICKS_OUT) == [], f"{name}, {state}"
    assert page.eval_on_selector(ROOT, SMALLEST_TEXT) >= 15


def test_without_scripts_and_without_styles_there_is_a_picture(browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 700})
    page = context.new_page()
    markup = card("words").markup("sampling-1")
    page.set_content(PAGE.format(markup))
    assert page.locator(f"{ROOT} .cw-next").is_visible() and not page.locator(f"{ROOT} .cw-plain").is_visible()
    page.screenshot(path=SCREENSHOTS / "widget_sampling_no_script.png", full_page=True)
    page.set_content(PAGE.format(sanitised(markup)))
    assert page.get_by_text("█").first.is_visible() and page.locator("table:visible").count() == 1
    assert "home" in page.locator("table:visible").text_content()
    page.screenshot(path=SCREENSHOTS / "widget_sampling_sanitised.png", full_page=True)
    context.close()
