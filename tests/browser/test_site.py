"""The built site in Chromium, opened from the disk, after `make site`; `make crawl` opens all pages, CI a part."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from tests.browser.conftest import ROOT, SCREENSHOTS

SITE = ROOT / "build" / "site"
PAGES = [path.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("*.html"))]
PART = {
    "index.html",
    "search.html",
    "cards/cost.html",
    "lecture_notes/02_the_loss_in_six_steps.html",
    "notebooks/02_the_loss_in_six_steps.html",
    "pt-BR/index.html",
    "pt-BR/cards/memory.html",
    "pt-BR/notebooks/09_throughput_memory_and_cost.html",
}
WIDTHS = (1280, 390)
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
SETTLED = """async () => { await window.MathJax?.startup?.promise; await document.fonts.ready;
  return [...document.querySelectorAll(".cw")].every(card => card.dataset.live); }"""
LOOK = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)], ids = all("[id]").map(e => e.id);
  const low = (e) => !(e.querySelector(".cw-body")?.getBoundingClientRect().height > 60);
  const unset = all(".math").filter(e => !e.querySelector("mjx-container"));
  return {
    "sticks out, px": document.documentElement.scrollWidth - document.documentElement.clientWidth,
    "cards without height": all(".cw").filter(low).length,
    "formulas not set": [...unset, ...all("mjx-merror, [data-mjx-error]")].map(e => e.textContent.slice(0, 60)),
    "pictures without words or bytes": all("img").filter(e => !e.alt || e.complete && !e.naturalWidth).map(e => e.alt),
    "ids twice": ids.filter((id, i) => ids.indexOf(id) !== i)}; }"""
MOVE = """() => [...document.querySelectorAll(".cw")].filter(card => {
  const before = card.querySelector(".cw-body").outerHTML;
  card.querySelectorAll("input[type=range]").forEach(e => { e.value = e.value === e.max ? e.min : e.max; });
  card.dispatchEvent(new Event("input", {bubbles: true}));
  return card.querySelector(".cw-body").outerHTML === before; }).map(card => card.id)"""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    if not PAGES:
        pytest.skip(f"no site in {SITE.relative_to(ROOT)}: make site")


@contextmanager
def opened(browser, address: str, **options: object) -> Iterator:
    """The page at `address` of the site; complains of what its console, or the network, has to say at the end."""
    context = browser.new_context(**options)
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "requestfailed",  # what a click on a link has cut short was not missing
        lambda sent: complaints.append(f"not loaded: {sent.url}") if sent.failure != "net::ERR_ABORTED" else None,
    )
    page.on(
        "request", lambda sent: complaints.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None
    )
    page.goto(f"{SITE.as_uri()}/{address}")
    yield page
    context.close()
    assert complaints == [], address


def faults(page) -> dict:
    return {what: found for what, found in page.evaluate(LOOK).items() if found not in (0, [])}


def marked(page: str):
    return pytest.param(page, marks=pytest.mark.browser if page in PART else pytest.mark.crawl)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", [*map(marked, PAGES)])
def test_a_page_is_whole(browser, page: str, width: int) -> None:
    """No error, no request to elsewhere, nothing sticks out, formulas set, cards to be seen and moving."""
    with opened(browser, page, viewport={"width": width, "height": 800}) as shown:
        shown.wait_for_function(SETTLED)
        assert faults(shown) == {}
        assert shown.evaluate(MOVE) == [], "cards that do not move"
        assert faults(shown) == {}, "after the cards were moved"
        if "/cards/" not in f"/{page}":
            assert shown.locator("a.course-language").is_visible()


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if "cards/" in page])
def test_a_card_moves_by_touch_on_a_small_phone(browser, page: str) -> None:
    with opened(browser, page, **PHONE) as shown:
        shown.wait_for_function(SETTLED)
        body = shown.locator(".cw-body")
        for slider in shown.locator(".cw input[type=range]:visible").all():
            before, box = body.inner_html(), slider.bounding_box()
            assert box["height"] >= 24, "a finger's width"
            at = 0.9 if float(slider.input_value()) <= float(slider.get_attribute("max")) / 2 else 0.1
            slider.tap(position={"x": box["width"] * at, "y": box["height"] / 2})
            assert body.inner_html() != before, slider.get_attribute("data-in")
        assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
        shown.screenshot(path=SCREENSHOTS / f"site_{page.replace('/', '_')}.png", full_page=True)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("folder", "word", "name"),
    [("pt-BR/", "perplexidade", "02_"), ("pt-BR/", "validação honesta", "03_"), ("", "checkpoint", "06_")],
)
def test_search_finds_a_word(browser, folder: str, word: str, name: str) -> None:
    with opened(browser, f"{folder}search.html?q={quote(word)}") as shown:
        shown.wait_for_selector(f"#search-results li a[href*='{name}']")
        assert "__" not in shown.url and shown.locator("#search-results li a").count() > 1


@pytest.mark.browser
def test_the_language_is_one_click_away_on_every_page(browser) -> None:
    with opened(browser, "pt-BR/notebooks/04_the_training_loop.html") as shown:
        shown.click("a.course-language")
        assert shown.url.endswith("/site/notebooks/04_the_training_loop.html")
        shown.click("a.course-language")
        assert shown.url.endswith("/pt-BR/notebooks/04_the_training_loop.html")


@pytest.mark.browser
def test_every_link_leads_to_a_page_and_a_place_on_it() -> None:
    ids = {page: set(re.findall(r'\bid="([^"]*)"', (SITE / page).read_text(encoding="utf-8"))) for page in PAGES}
    lost = []
    for page in PAGES:
        for link in re.findall(r'<a [^>]*href="([^"]*)"', (SITE / page).read_text(encoding="utf-8")):
            file, _, place = unquote(html.unescape(link)).partition("#")
            if re.match(r"\w+:", file) or not link.strip("#"):
                continue
            goal = (SITE / page).parent / file if file else SITE / page
            goal = Path(goal).resolve().relative_to(SITE).as_posix()
            if goal not in ids or (place and place not in ids[goal]):
                lost.append((page, link))
    assert lost == []
