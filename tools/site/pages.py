"""What Sphinx reads: one edition's notebooks and pages with links that hold on the site, and a landing page."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from helpers.language import t
from tools.notebooks import BADGE_ID, FOLDED, LANGUAGE_LINK, NO_ADDRESS, ROOT, SETUP_ID, repository
from tools.site.cards import Stored, address_of, cards_of, qr_code
from tools.translate.edition import anchor

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| \[(\d\d) ([^\]]*)\]\([^)]*/([^)/]*)\.ipynb\) \| ([^|]*) \|", re.MULTILINE)
HEADING = re.compile(r"^##+ .+$", re.MULTILINE)
ALSO_ONLINE = re.compile(r", \w+ \[[^\]]*\]\([^)]*\)")  # of the lecture notes: here they are
NOT_SHOWN = ("exam",)  # its answers
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


def write_sources(folder: Path, edition: Path, readme: Path, address: str) -> list[Stored]:
    """Write what Sphinx makes one edition's pages of into `folder`; returns the edition's cards.

    edition  the folder that holds the edition's notebooks and lecture_notes
    address  where the site will be, or "": cards then have no QR code
    """
    shown: list[Stored] = []
    files = [*sorted(edition.glob("notebooks/*.ipynb")), *sorted(edition.glob("lecture_notes/*.md"))]
    for path in (file for file in files if file.stem not in NOT_SHOWN):
        target = folder / path.relative_to(edition)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            shown += cards_of(path)
            nbformat.write(_with_anchors(nbformat.read(path, as_version=4), path), target)
        else:
            cards = [card for card in shown if card.notebook.stem == path.stem]
            text = on_the_site(LANGUAGE_LINK.sub("", path.read_text(encoding="utf-8")), path)
            target.write_text(_with_places(text) + _by_link(cards, address), encoding="utf-8")
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


def _with_places(text: str) -> str:
    """The page with each heading to be found under #at=…, the name that GitHub gives it."""
    return HEADING.sub(lambda heading: f'<div id="at={anchor(heading[0])[1:]}"></div>\n\n{heading[0]}', text)


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


def _by_link(cards: list[Stored], address: str) -> str:
    """The end of the lecture notes: the notebook's cards, each with a QR code where the site's address is known."""
    if not cards:
        return ""
    items = []
    for card in cards:
        link = f'<a href="../cards/{card.name}.html">{html.escape(card.title)}</a>'
        picture = qr_code(address_of(card, address)) if address else ""
        items.append(f"<figure>{picture}<figcaption>{link}</figcaption></figure>")
    said = t("Each of these cards has a page of its own, for a phone too: no kernel, nothing to install.")
    return f'\n## {t("Cards by link")}\n{said}\n\n<div class="by-link">{"".join(items)}</div>\n'


def _landing(notebooks: list[Notebook], shown: list[Stored], folder: Path) -> str:
    first = next(card for card in shown if (card.notebook.stem, card.name) == FIRST_CARD)
    tiles = [
        f'<a href="notebooks/{n.name}.html"><b>{n.number}</b><strong>{n.title}</strong><span>{n.question}</span></a>'
        for n in notebooks
    ]
    links = [f'<a href="cards/{card.name}.html">{html.escape(card.title)}</a>' for card in shown]
    notes = sorted(path.stem for path in (folder / "lecture_notes").glob("*.md"))
    numbered = {f"lecture_notes/{n.name}": f"{n.number} {n.title}" for n in notebooks}
    parts = [
        f"# {t('How a GPT is pretrained')}",
        t(
            "A language model learns by guessing the next token, and a single number says how well it guesses. This "
            "course takes that apart in {n} notebooks: what the number is, how training lowers it, what a run costs, "
            "and which published numbers to believe. Before each experiment **you predict**; then you see what was "
            "**measured**, on an ordinary computer.",
            n=len(notebooks),
        ),
        f"## {t('Move it')}",
        t(
            "Before anyone asks a large model a question, it has read hundreds of billions of tokens. How long does "
            "that take? Move the sliders."
        ),
        f"`````{{raw}} html\n{first.markup}\n`````",
        f"## {t('From notebook to notebook')}",
        f'<div class="map">{"".join(tiles)}</div>',
        f"## {t('More to move')}",
        t("Cards on pages of their own, small enough to send to a phone."),
        f'<div class="links">{"".join(links)}</div>',
        f"## {t('Study it, teach it')}",
        t(
            "All pages can be read here. To run the notebooks and to check your answers, take the course's folder and "
            "say `make lab`: no GPU is needed, and no account. Teachers find a [syllabus]({syllabus}) and, for each "
            "notebook, lecture notes with a plan in minutes.",
            syllabus="lecture_notes/syllabus.html",
        ),
        _toctree(t("Notebooks"), {f"notebooks/{n.name}": f"{n.number} {n.title}" for n in notebooks}),
        _toctree(
            t("For teachers"), {f"lecture_notes/{name}": numbered.get(f"lecture_notes/{name}", "") for name in notes}
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _toctree(caption: str, pages: dict[str, str]) -> str:
    entries = [f"{title} <{page}>" if title else page for page, title in pages.items()]
    return "\n".join(["```{toctree}", f":caption: {caption}", ":hidden:", "", *entries, "```"])
