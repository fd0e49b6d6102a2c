"""A deck as a class sees it: every slide measured at 1280 x 720, guesses drawn, cards alive, the clock; no request.

`make crawl` measures all decks, CI three.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT, SCREENSHOTS, VIEWPORT
from tools.notebooks import numbered
from tools.slides import __main__ as decks

CHOSEN = (
    "02_the_loss_in_six_steps_1.html",
    "pt-BR/02_the_loss_in_six_steps_1.html",
    "09_throughput_memory_and_cost.html",
)
TWO_CLASSES = ("02", "05", "08")
DECKS = [
    f"{edition}{path.stem}{part}.html"
    for edition in ("", "pt-BR/")
    for path in numbered(ROOT / "notebooks")
    for part in (("_1", "_2") if path.stem[:2] in TWO_CLASSES else ("",))
]
SMALLEST, READABLE = 0.75, 27
FORTY = "\n".join(["0,3 nats", "0.27", "10.8", "12 nats", "11", "~9", "5 a 7", "0,1"] * 5)
SLIDES = """() => [...document.querySelectorAll(".slides section:not(.stack)")].map((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  return { h, v: v || 0, id: `${slide.className.split(" ")[0]} ${slide.id}` }; })"""
MEASURE = """({ h, v }) => {
  Reveal.slide(h, v, 99);
  const slide = Reveal.getCurrentSlide(), parts = [...slide.querySelector(".fit").querySelectorAll("*")];
  const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
    && !e.closest(".cw, svg, mjx-container");
  const type = Math.min(99, ...parts.filter(own).map((e) => parseFloat(getComputedStyle(e).fontSize)));
  const high = slide.scrollHeight - slide.clientHeight, wide = slide.scrollWidth - slide.clientWidth;
  return { fit: Number(slide.dataset.fit), high, wide, type }; }"""
MOVE = """() => [...document.querySelectorAll(".cw")].map((card) => {
  const before = card.textContent;
  for (const part of card.querySelectorAll("input[type=range]")) {
    part.value = part.value === part.max ? part.min : part.max;
    part.dispatchEvent(new Event("input", { bubbles: true }));
  }
  for (const part of card.querySelectorAll("button")) if (!part.closest(".cw [hidden]")) part.click();
  return card.textContent !== before; })"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("slides")
    try:
        decks.copy_libraries(out / "lib")
    except ConnectionError as error:  # made once with a network, by `make slides`
        pytest.skip(str(error))
    return out


@pytest.fixture
def opened(browser, folder) -> Iterator:
    """Opens a deck; afterwards nothing was asked of a network, and nothing was said in the console."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith(("http", "ws")) else None)

    def go(name: str):
        if not (folder / name).is_file():
            decks.make(folder, [Path(name).name[:2]])
        page.goto((folder / name).as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield go
    context.close()
    assert not wrong, wrong[:5]


PARTS = [pytest.param(name, marks=pytest.mark.browser if name in CHOSEN else pytest.mark.crawl) for name in DECKS]


@pytest.mark.parametrize("name", PARTS)
def test_every_slide_fits_in_type_that_is_read_from_the_last_row(opened, name):
    page = opened(name)
    slides = page.evaluate(SLIDES)
    found = {slide["id"]: page.evaluate(MEASURE, slide) for slide in slides}
    assert len(found) == len(slides) > 10
    assert {k: m for k, m in found.items() if m["fit"] < SMALLEST or m["high"] > 1 or m["wide"] > 1} == {}
    assert {k: m["type"] for k, m in found.items() if m["type"] < READABLE} == {}
    assert page.evaluate("document.querySelectorAll('mjx-container').length") > 5 or name not in CHOSEN[:2]
    assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0
    small = sorted((m["fit"], k) for k, m in found.items())[:3]
    print(
        f"\n{name}: {len(found)} slides, {sum(m['fit'] >= 1 for m in found.values())} at full size, smallest {small}",
        end="",
    )


@pytest.mark.parametrize("name", PARTS)
def test_every_card_moves(opened, name):
    page = opened(name)
    moved = page.evaluate(MOVE)
    assert all(moved) and (moved or name not in CHOSEN)


@pytest.mark.browser
def test_a_lecture_is_given_with_the_keyboard_and_forty_pasted_guesses(opened):
    """From the title to the last question with one key; at the second prediction the room's guesses are pasted."""
    page = opened(CHOSEN[0])
    across = page.evaluate("Reveal.getHorizontalSlides().length")
    late = page.locator("[data-clock=late]")
    assert late.inner_text() == ""
    seen = []
    for _ in range(4 * across):
        here = page.evaluate("Reveal.getCurrentSlide().id")
        if here not in seen:
            seen.append(here)
            if here == "l1-shift-run":
                paste(page, FORTY)
        if page.evaluate("!Reveal.availableRoutes().right && !Reveal.availableFragments().next"):
            break
        page.keyboard.press("ArrowRight")
    assert len(seen) == across and seen[-1].startswith("question")
    assert "min early" in late.inner_text() and page.locator("[data-clock=block]").inner_text() == "9/9"
    page.evaluate("Reveal.slide(Reveal.getIndices(document.getElementById('l1-shift-run')).h, 0, 0)")
    assert (
        page.locator("#l1-shift-run circle").count() == 40 and page.locator("#l1-shift-run line.measured").count() == 1
    )
    page.screenshot(path=SCREENSHOTS / "slides_forty_guesses.png")
    told = page.locator("#l1-shift-run .tally").inner_text()
    assert told == "the room: 5 of 40 within 5% (13%) · 30 above, 5 below · median 7.5"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#l1-shift-run circle").count() == 40, "lost when the page was loaded again"


def paste(page, text: str) -> None:
    """Ctrl-V anywhere on the slide; the answer is not given away before it is shown."""
    page.evaluate(
        """(text) => { const data = new DataTransfer(); data.setData("text", text);
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data })); }""",
        text,
    )
    assert page.locator("#l1-shift-run circle").count() == 40
    assert page.locator("#l1-shift-run line.measured").count() == 0
    assert page.locator("#l1-shift-run .tally").inner_text() == "40 guesses"


@pytest.mark.browser
def test_typing_stays_in_the_box(opened):
    page = opened(CHOSEN[1])
    page.evaluate("Reveal.slide(Reveal.getIndices(document.getElementById('l3-trap')).h, 0)")
    page.keyboard.press("i")
    page.keyboard.type("c; c; a d")
    assert page.evaluate("Reveal.getCurrentSlide().id") == "l3-trap"
    assert page.locator("#l3-trap .tally").inner_text() == "3 palpites · não lidos: 1 (d)"
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    assert page.locator("#l3-trap .tally").inner_text().startswith("a turma: 2 de 3 disseram c (67%)")


@pytest.mark.browser
def test_what_is_for_home_comes_with_a_key(opened):
    page = opened(CHOSEN[0])
    assert page.locator("#l2-verify").count() == 0
    with page.expect_navigation():
        page.keyboard.press("d")
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#l2-verify").count() == 1
