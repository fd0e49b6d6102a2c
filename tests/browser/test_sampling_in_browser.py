"""The sampling card in a plain page: its buttons, other logits from the kernel, and a fast drag."""

import pytest
import torch

from helpers.classroom import cards
from tests.browser.looks import SET, agrees, feed, put
from tests.browser.test_widgets_in_browser import card
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


def test_buttons_change_the_order_draw_again_and_undo(page) -> None:
    shown = cards.sampling(LOGITS, WORDS)
    put(page, shown)
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
    put(page, card("sampling"))
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
