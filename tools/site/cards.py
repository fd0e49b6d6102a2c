"""Cards by link: each card that needs no kernel as a small page of its own, taken from a notebook's stored output.

cards_of(notebook)         the cards of a notebook, such as ROOT / "notebooks" / "02_the_loss_in_six_steps.ipynb"
address_of(card, where)    where its page will stand, on a site at the address `where`
qr_code(address)           a picture of that address, as SVG for a page
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from helpers.language import t
from tools.notebooks import ROOT

MARKUP = '<div class="cw"'
PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><link rel="icon" href="{root}_static/favicon.svg">
<style>:root{{color-scheme:light dark}}body{{max-width:1000px;margin:0 auto;padding:6px}}
nav{{display:flex;flex-wrap:wrap;gap:0 22px;padding:0 8px;font:16px/2.6 system-ui,sans-serif}}
body .cw .cw-big{{white-space:normal}}</style></head><body>
{card}
<nav>{links}</nav></body></html>
"""


@dataclass(frozen=True)
class Stored:
    """A card in a stored output: the name of its page, its heading, its markup, the notebook and the cell."""

    name: str
    title: str
    markup: str
    notebook: Path
    cell_id: str


def cards_of(notebook: Path) -> list[Stored]:
    """The cards of a notebook that need no kernel, in its order; a second one of a kind is called kind-2."""
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", ()):
            markup = output.get("data", {}).get("text/html", "")
            if markup.startswith(MARKUP) and "data-fed=" not in markup[: markup.index(">")]:
                name = re.search(r' id="([^"]*)"', markup)[1].removesuffix("-1")
                title = html.unescape(re.search(r'class="cw-title"><b>(.*?)</b>', markup)[1])
                found.append(Stored(name, title, markup, notebook, cell["id"]))
    return found


def address_of(card: Stored, where: str) -> str:
    """Where the card's page stands on a site at that address, in the language of its notebook."""
    edition = card.notebook.relative_to(ROOT).parts[:-2]  # none, or pt-BR
    return "/".join([where.rstrip("/"), *edition, "cards", f"{card.name}.html"])


def qr_code(address: str) -> str:
    """The address as a QR code: SVG that stands in a page, black on white with its margin, four px a module."""
    import segno  # only `make site` installs it

    return segno.make(address, micro=False).svg_inline(scale=4, light="#fff", border=4)


def card_page(card: Stored, lang: str, other: str, other_name: str) -> str:
    """The page of a card; `other` is the path from it to the same card in the language of that name."""
    root = "../" if lang == "en" else "../../"
    links = {
        f"../notebooks/{card.notebook.stem}.html#cell-id={card.cell_id}": t("in its notebook"),
        "../index.html": t("How a GPT is pretrained: the course"),
        other: other_name,
    }
    shown = "".join(f'<a href="{target}">{html.escape(text)}</a>' for target, text in links.items())
    return PAGE.format(lang=lang, title=html.escape(card.title), root=root, card=card.markup, links=shown)
