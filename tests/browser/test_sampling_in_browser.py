"""The sampling card in a plain page: every control reaches its script, it answers at once, and it fits its column."""

from __future__ import annotations

import re

import pytest
import torch

from helpers.classroom import cards
from tests.browser.conftest import SCREENSHOTS
from tests.browser.looks import SET, SMALLEST_TEXT, agrees, feed, put
from tests.cards import by_last_token

pytestmark = pytest.mark.browser
ROOT = "#sampling-1"
WORDS = ["home", "away", "back", "down", "out", "in", "over", "on", "under"]
LOGITS = [3.2, 2.4, 2.4, 1.1, 0.6, 0.1, -0.5, -1.2, -3.0]
SLIDERS = ("temperature", "top_k", "top_p", "min_p", "n_draws")
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


def show(page, name: str):
    card = cards.sampling(LOGITS, WORDS)
    if name == "big":  # 50,257 logits, as spread out as a small model's
        logits = 2 * torch.randn(50257, generator=torch.Generator().manual_seed(5))
        card = cards.sampling(logits, [f"' word{i}'" for i in range(50257)], prompt="Once upon a time")
    put(page, card)
    return card


@pytest.mark.parametrize("name", ["words", "big"])
def test_every_slider_moves_by_keyboard_and_by_mouse(page, name: str) -> None:
    show(page, name)
    agrees(page, ROOT)
    for slider in SLIDERS:
        handle = page.get_by_label(re.compile(f"^{'draws' if slider == 'n_draws' else slider.replace('_', '-')}"))
        handle.focus()
        seen = set()
        for key in ["Home", "ArrowRight", "PageUp", "ArrowUp", "End", "ArrowLeft", "PageDown"]:
            page.keyboard.press(key)
            seen.add(agrees(page, ROOT)[0][slider])
            assert handle.get_attribute("aria-valuetext") == page.text_content(f"{ROOT} [data-key={slider}_text]")
        box = handle.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        for share in (0.2, 0.6, 0.9):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            seen.add(agrees(page, ROOT)[0][slider])
        page.mouse.up()
        assert len(seen) >= 5, slider


def test_buttons_change_the_order_draw_again_and_undo(page) -> None:
    shown = show(page, "words")
    page.eval_on_selector(ROOT, SET, {"temperature": 30, "top_p": 69})
    first = page.text_content(f"{ROOT} [data-key=p0]")
    page.locator(f"{ROOT} button", has_text="temperature first").press("Enter")
    assert agrees(page, ROOT)[0]["order"] == 1 and page.text_content(f"{ROOT} [data-key=p0]") != first
    probs, drawn = ([page.text_content(f"{ROOT} [data-key={k}{i}]") for i in range(9)] for k in "pf")
    page.locator(f"{ROOT} button", has_text="draw again").click()
    assert agrees(page, ROOT)[0]["seed"] == 2
    assert [page.text_content(f"{ROOT} [data-key=p{i}]") for i in range(9)] == probs
    assert [page.text_content(f"{ROOT} [data-key=f{i}]") for i in range(9)] != drawn
    page.locator(f"{ROOT} button", has_text="0 to 100 %").click()
    assert agrees(page, ROOT)[0]["scale"] == 1 and page.text_content(f"{ROOT} [data-key=axis]") == "0 to 100 %"
    page.locator(f"{ROOT} button", has_text="no filter").click()
    assert agrees(page, ROOT)[0].items() >= {name: shown.values[name] for name in SLIDERS}.items()


def test_it_takes_other_logits_from_the_kernel(page) -> None:
    put(page, cards.next_token(by_last_token).card())
    page.eval_on_selector(ROOT, SET, {"temperature": 10})
    other = cards.sampling(torch.linspace(-4, 4, 50257), prompt="She said “<b>”").config
    feed(page, "sampling-1", other | {"error": "Below: the last."})
    page.wait_for_function("() => document.querySelector('[data-key=name0]').textContent === 'id 50256'")
    assert agrees(page, ROOT)[0]["temperature"] == 10, "the sliders stay where they were"
    assert page.is_visible(f"{ROOT} .cw-error")


def test_a_fast_drag_neither_flickers_nor_lags(page) -> None:
    show(page, "big")
    page.eval_on_selector(ROOT, FRAMES)
    box = page.locator(f"{ROOT} [data-in=temperature]").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * ((i * 13) % 60) / 60), y)
    page.mouse.move(box["x"] + box["width"] - 3, y)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.text_content(f"{ROOT} [data-key=temperature_text]") == "∞, uniform", "the last value wins"
    page.mouse.up()
    seen = page.evaluate("() => { cancelAnimationFrame(window.looking); return window.seen; }")
    assert len({text for text, _, _ in seen}) > 10 and all(bars == 12 for _, bars, _ in seen)
    assert len({round(height) for _, _, height in seen}) == 1, "the card keeps its height"


@pytest.mark.parametrize("name", ["words", "big"])
def test_nothing_sticks_out(page, name: str) -> None:
    states = {
        "first": {}, "greedy": {"temperature": 0, "n_draws": 9}, "uniform": {"temperature": 39, "top_k": 4},
        "temperature_first": {"order": 1, "temperature": 28, "top_p": 69, "min_p": 8, "n_draws": 9},
        "groups": {"min_p": 1, "temperature": 25, "n_draws": 0},
    }  # fmt: skip
    first = show(page, name).values
    for width in (390, 480, 700, 900, 1280):
        page.set_viewport_size({"width": width, "height": 720})
        for state, values in states.items():
            page.eval_on_selector(ROOT, SET, first | values)
            page.locator(ROOT).screenshot(path=SCREENSHOTS / f"widget_sampling_{name}_{state}_{width}px.png")
            assert page.eval_on_selector(ROOT, STICKS_OUT) == [], f"{width}, {state}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.eval_on_selector(ROOT, SMALLEST_TEXT) >= 15
