"""The site's sources: links that hold on it, places to be found, cards on pages of their own. No Sphinx, no browser."""

import json
import re

import pytest

from helpers import language
from tests.support import refused
from tools.notebooks import ROOT, numbered
from tools.site import pages

DECODING = ROOT / "notebooks" / "05_decoding.ipynb"
NOTES = ROOT / "lecture_notes" / "02_the_loss_in_six_steps.md"


@pytest.mark.parametrize(
    ("written", "on_the_site"),
    [
        ("[05](../notebooks/05_decoding.ipynb#cell-id=g1)", "[05](../notebooks/05_decoding.html#cell-id=g1)"),
        ("[a form](00_start_here.md#the-rooms-predictions)", "[a form](00_start_here.html#at=the-rooms-predictions)"),
        ("[top-[p]](05_decoding.md) and `x[0](1)`", "[top-[p]](05_decoding.html) and `x[0](1)`"),
        ("[paper](https://arxiv.org/abs/2203.15556)", "[paper](https://arxiv.org/abs/2203.15556)"),
        ("[Open in Colab](https://x.org/-address-not-set-/y)", "Open in Colab"),
        ("[how](../README.md#grade)", "how"),
        ("![a figure](images/a.png)", "![a figure](images/a.png)"),
    ],
)
def test_links_lead_to_pages_of_the_site(written: str, on_the_site: str, monkeypatch):
    assert pages.on_the_site(written, NOTES) == on_the_site
    monkeypatch.setattr(pages, "repository", lambda: "https://github.com/a/b")
    there = pages.on_the_site("[how](../README.md#grade)", NOTES)
    assert there == "[how](https://github.com/a/b/blob/main/README.md#grade)", "what the site lacks"


def test_the_map_lists_each_notebook_in_both_languages(tmp_path):
    english, portuguese = (pages.course_map(ROOT / name) for name in ("README.md", "README.pt-BR.md"))
    assert [row.name for row in english] == [path.stem for path in numbered(ROOT / "notebooks")]
    assert [row.name for row in portuguese] == [row.name for row in english]
    assert all(a.question != b.question and a.title for a, b in zip(english, portuguese, strict=True))
    (tmp_path / "README.md").write_text("# A course\n")
    refused(r"README.md: expected a map .* got none", pages.course_map, tmp_path / "README.md")


def test_a_cell_and_a_heading_are_found_by_their_names(tmp_path):
    shown = pages.write_sources(tmp_path, ROOT / "pt-BR", ROOT / "README.pt-BR.md", address="")
    notes = (tmp_path / "lecture_notes" / "00_start_here.md").read_text(encoding="utf-8")
    assert '<div id="at=os-palpites-da-turma"></div>\n\n## Os palpites da turma' in notes, "as links say"
    notebook = json.loads((tmp_path / "notebooks" / "05_decoding.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert sources[0].startswith("# 05") and not any("-address-not-set-" in source for source in sources[:3])
    assert sum(source.startswith('<div id="cell-id=g1-widget"></div>') for source in sources) == 1
    landing = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert all(f'href="cards/{card.name}.html"' in landing for card in shown) and "lecture_notes/syllabus" in landing


def test_cards_that_need_no_kernel_have_a_page_that_stands_alone():
    assert [card.name for card in pages.cards_of(DECODING)] == ["sampling", "sampling-2"]
    first, _ = pages.cards_of(DECODING)
    assert first.title == "What comes next? Temperature and filters" and first.cell_id == "g1-widget"
    assert pages.address_of(first, "https://a.org/b/") == "https://a.org/b/cards/sampling.html"
    (portuguese,) = pages.cards_of(ROOT / "pt-BR" / "notebooks" / "01_evaluating_a_generative_model.ipynb")
    assert pages.address_of(portuguese, "https://a.org") == "https://a.org/pt-BR/cards/cost.html"
    (card,) = pages.cards_of(ROOT / "notebooks" / "01_evaluating_a_generative_model.ipynb")
    page = pages.card_page(card, "en", "../pt-BR/cards/cost.html", "Português")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page) and 'name="viewport"' in page
    assert 'href="../notebooks/01_evaluating_a_generative_model.html#cell-id=cost-widget"' in page
    assert card.markup in page and len(page.encode()) < 30_000


def test_lecture_notes_show_qr_codes_once_the_address_is_known(tmp_path):
    pytest.importorskip("segno", reason="make site installs it")
    try:
        language.choose("pt_BR")
        pages.write_sources(tmp_path, ROOT / "pt-BR", ROOT / "README.pt-BR.md", address="https://a.org")
    finally:
        language.choose(language.ENGLISH)
    notes = (tmp_path / "lecture_notes" / "02_the_loss_in_six_steps.md").read_text(encoding="utf-8")
    assert notes.count("<svg") == 2 and "../cards/die.html" in notes and "../cards/predictors.html" in notes
    assert pages.qr_code("https://a.org/1") != pages.qr_code("https://a.org/2")
