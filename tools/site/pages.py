"""What Sphinx reads: one edition's notebooks and pages with links that hold on the site, and a landing page.

Each card that needs no kernel also gets a small page of its own, taken from a notebook's stored output.
"""

import html
import os
import re
from pathlib import Path
from typing import NamedTuple

import jinja2
import nbformat

from helpers.language import t
from tools.notebooks import (
    BADGE_ID,
    FOLDED,
    LANGUAGE_LINK,
    NO_ADDRESS,
    ROOT,
    SETUP_ID,
    lecture_notes,
    numbered,
    pages,
    repository,
)
from tools.translate.edition import anchor

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| \[(\d\d) ([^\]]*)\]\([^)]*/([^)/]*)\.ipynb\) \| ([^|]*) \|", re.MULTILINE)
HEADING = re.compile(r"^##+ .+$", re.MULTILINE)
ALSO_ONLINE = re.compile(r", \w+ \[[^\]]*\]\([^)]*\)")  # of the lecture notes: here they are
NOT_SHOWN = ("exam",)  # its answers
TEMPLATES = Path(__file__).parent / "templates"
CARD = '<div class="cw"'  # what its markup begins with
FIRST_CARD = ("01_evaluating_a_generative_model", "cost")  # what the landing page lets one move


class Notebook(NamedTuple):
    """A row of the README's map."""

    number: str
    title: str
    name: str
    question: str


def course_map(readme: Path) -> list[Notebook]:
    """The notebooks as a README's map lists them. ValueError: it has no such rows."""
    rows = [Notebook(*row) for row in ROW.findall(readme.read_text(encoding="utf-8"))]
    if not rows:
        raise ValueError(f"{readme.name}: expected a map with rows `| [00 Title](….ipynb) | …`, got none")
    return rows


def write_sources(folder: Path, edition: Path, readme: Path, address: str) -> list["Stored"]:
    """Write what Sphinx makes one edition's pages of into `folder`; returns the edition's cards.

    edition  the folder that holds the edition's notebooks and lecture_notes
    address  where the site will be, or "": cards then have no QR code
    """

    def code(card: Stored) -> str:
        return qr_code(address_of(card, address)) if address else ""

    shown: list[Stored] = []
    files = [*numbered(edition / "notebooks"), *lecture_notes(edition)]
    for path in (file for file in files if file.stem not in NOT_SHOWN):
        target = folder / path.relative_to(edition)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            shown += cards_of(path)
            nbformat.write(_with_anchors(nbformat.read(path, as_version=4), path), target)
        else:
            cards = [card for card in shown if card.notebook.stem == path.stem]
            text = on_the_site(LANGUAGE_LINK.sub("", path.read_text(encoding="utf-8")), path)
            by_link = _page("by_link.md", cards=cards, code=code) if cards else ""
            target.write_text(HEADING.sub(_place, text) + by_link, encoding="utf-8")
    (folder / "index.md").write_text(_landing(course_map(readme), shown, folder), encoding="utf-8")
    return shown


def on_the_site(text: str, path: Path) -> str:
    """The Markdown of the file at `path` with its links turned to pages of the site.

    A file that the site does not have is linked in the repository, where that has an address, and else only named.
    """

    def turned(link: re.Match[str]) -> str:
        words, target = link.groups()
        if NO_ADDRESS in target:
            return words
        file, mark, anchor = target.partition("#")
        goal = Path(os.path.normpath(path.parent / file))
        if not file or not goal.exists():  # an address; or no link at all, such as f[i](x)
            return link[0]
        if goal.suffix in (".ipynb", ".md") and goal.parent != ROOT and goal.stem not in NOT_SHOWN:
            mark += "at=" if mark and goal.suffix == ".md" else ""
            return f"[{words}]({Path(file).with_suffix('.html').as_posix()}{mark}{anchor})"
        if NO_ADDRESS in repository():
            return words
        return f"[{words}]({repository()}/blob/main/{goal.relative_to(ROOT).as_posix()}{mark}{anchor})"

    return LINK.sub(turned, text)


def _place(heading: re.Match[str]) -> str:
    """A heading to be found under #at=…, the name that GitHub gives it."""
    return f'<div id="at={anchor(heading[0])[1:]}"></div>\n\n{heading[0]}'


def _with_anchors(notebook: nbformat.NotebookNode, path: Path) -> nbformat.NotebookNode:
    """The notebook with each cell to be found under #cell-id=…, as in JupyterLab, but for the title's."""
    title, *cells = notebook.cells
    notebook.cells = [title]
    for cell in cells:
        anchor = f'<div id="cell-id={cell["id"]}"></div>'
        if cell.cell_type == "markdown":
            source = _badge(cell.source) if cell["id"] == BADGE_ID else cell.source
            cell.source = f"{anchor}\n\n{on_the_site(source, path)}"
        else:
            if cell["id"] == SETUP_ID:
                cell.metadata["tags"] = [FOLDED]
            notebook.cells.append(nbformat.v4.new_markdown_cell(anchor))
        notebook.cells.append(cell)
    title.source = on_the_site(title.source, path)
    return notebook


def _badge(source: str) -> str:
    """The line of links below a title without the language's, which every page has, and Colab's if it leads nowhere."""
    parts = ALSO_ONLINE.sub("", source).split(" · ")[:-1]
    return " · ".join(part for part in parts if NO_ADDRESS not in part)


def _landing(notebooks: list[Notebook], shown: list["Stored"], folder: Path) -> str:
    first = next(card for card in shown if (card.notebook.stem, card.name) == FIRST_CARD)
    notes = [path.stem for path in lecture_notes(folder)]
    titles = {n.name: f"{n.number} {n.title}" for n in notebooks}
    return _page("landing.md", notebooks=notebooks, first=first, cards=shown, titles=titles, notes=notes)


class Stored(NamedTuple):
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
        for markup in pages(cell):
            if markup.startswith(CARD) and "data-fed=" not in markup[: markup.index(">")]:
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
    return _page("card.html", card=card, lang=lang, other=other, other_name=other_name)


def _page(template: str, **says: object) -> str:
    """A page by a template, which marks with t("…") what is translated, as the code does."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    page = jinja2.Template(text, trim_blocks=True, keep_trailing_newline=True)
    return page.render(t=t, escape=html.escape, **says)
