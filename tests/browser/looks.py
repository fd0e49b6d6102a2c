"""A card in a page: put there, fed as by a kernel, compared with its script, and measured."""

import html
import json

from helpers.classroom import cards
from tests.cards import script

PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>card</title><body style="margin:12px">{}</body>'
SET = """(root, values) => { for (const name in values) root.querySelector(`[data-in=${name}]`).value = values[name];
    root.dispatchEvent(new Event("input", {bubbles: true})); }"""
INPUTS = "root => Object.fromEntries([...root.querySelectorAll('[data-in]')].map(e => [e.dataset.in, Number(e.value)]))"
READ = """root => Object.fromEntries([...root.querySelectorAll("[data-key]")].map(e => [e.dataset.key,
  {text: e.textContent, attributes: Object.fromEntries([...e.attributes].map(a => [a.name, a.value]))}]))"""
STICKING_OUT = """root => { const r = root.getBoundingClientRect(); return [...root.querySelectorAll("*")].filter(e => {
  const b = e.getBoundingClientRect(); return b.width > 2 && (b.right > r.right + 1 || b.left < r.left - 1);
}).map(e => e.outerHTML.slice(0, 80)); }"""
SMALLEST_TEXT = """root => Math.min(...[...root.querySelectorAll("*")].filter(e => e.children.length === 0
  && e.textContent.trim() && e.getClientRects().length && !["STYLE", "SCRIPT"].includes(e.tagName))
  .map(e => parseFloat(getComputedStyle(e).fontSize)))"""


def put(page, *shown: cards.Card, before: str = "", after: str = "") -> None:
    """The cards in the page, numbered from 1, each alive; `before` and `after`: what stands around them."""
    markup = "".join(c.markup(f"{c.kind}-{i}") for i, c in enumerate(shown, 1))
    page.set_content(PAGE.format(before + markup + after))
    for i, c in enumerate(shown, 1):
        page.wait_for_selector(f"#{c.kind}-{i}[data-live]")


def feed(page, ids: str, numbers: dict, parent: str = "body", i: int = 0) -> None:
    """What a kernel says to the cards of these ids, into the i-th `parent`."""
    markup = f'<div data-feed="{ids}" data-config="{html.escape(json.dumps(numbers))}" hidden></div>'
    add = "([parent, i, markup]) => document.querySelectorAll(parent)[i].insertAdjacentHTML('beforeend', markup)"
    page.evaluate(add, [parent, i, markup])


def agrees(page, root: str) -> tuple[dict, dict]:
    """The page shows what its script says about the page's own inputs and numbers; returns both."""
    values, config = page.eval_on_selector(root, INPUTS), json.loads(page.get_attribute(root, "data-config"))
    parts = page.eval_on_selector(root, READ)
    (state,) = script(root.strip("#").rpartition("-")[0]).states([values], config)
    for key, expected in state.items():
        part, _, attribute = key.partition("@")
        found = parts[part]["attributes"].get(attribute) if attribute else parts[part]["text"]
        assert found == expected, f"{key} at {values}: page {found!r}, script {expected!r}"
    return values, config
