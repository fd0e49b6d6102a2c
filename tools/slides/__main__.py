"""Decks of slides for the projector, one a class, in both languages; they open from a folder, without a network.

    python -m tools.slides [NAME ...]

NAME is the beginning of a notebook's name, such as 02; none means all.
"""

import argparse
import html
import shutil
import sys
from pathlib import Path

import jinja2
from pygments.formatters import HtmlFormatter

from helpers import language
from helpers.language import t
from tools import anew, npm, reason
from tools.notebooks import EDITIONS, ROOT, Edition, numbered, read
from tools.slides import notes
from tools.slides.deck import Section, Slide, cut
from tools.slides.lines import blocks
from tools.slides.page import markdown, page

HERE = Path(__file__).parent
LIBRARIES = (
    "reveal.js/dist/reset.css",
    "reveal.js/dist/reveal.css",
    "reveal.js/dist/reveal.js",
    "reveal.js/plugin/notes/notes.js",
    "mathjax/es5/tex-chtml.js",
)
FONTS = "mathjax/es5/output/chtml/fonts/woff-v2"


def make(out: Path, names: list[str] = ()) -> list[Path]:
    """Write the decks of these notebooks, and a page that lists them, into `out`; return the decks.

    ValueError: no notebook of such a name.
    """
    stems = [path.stem for path in numbered(ROOT / "notebooks")]
    for name in names:
        if not any(stem.startswith(name) for stem in stems):
            raise ValueError(f"expected the beginning of a notebook's name, such as 02, got {name!r}")
    copy_libraries(out / "lib")
    made = []
    for edition in EDITIONS:
        folder = out / edition.folder
        language.choose(edition.language)
        folder.mkdir(parents=True, exist_ok=True)
        listed = []
        for stem in stems:
            if not names or stem.startswith(tuple(names)):
                listed += write(stem, folder, edition)
        says = {"t": t, "escape": html.escape, "edition": edition, "listed": listed}
        index = jinja2.Template((HERE / "index.html").read_text(encoding="utf-8")).render(says)
        (folder / "index.html").write_text(index, encoding="utf-8")
        made += [path for path, _ in listed]
    language.choose("en")
    return made


def copy_libraries(lib: Path) -> None:
    packages = npm.packages()
    for name in LIBRARIES:
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(packages / name, lib / name)
    shutil.copytree(packages / FONTS, lib / FONTS, dirs_exist_ok=True)
    shutil.copy(HERE / "deck.js", lib)
    styles = HtmlFormatter(style="friendly").get_style_defs(".reveal .code")
    (lib / "deck.css").write_text((HERE / "deck.css").read_text(encoding="utf-8") + styles, encoding="utf-8")


def write(stem: str, folder: Path, edition: Edition) -> list[tuple[Path, str]]:
    """The decks of one notebook, each with its title."""
    homes = ROOT, ROOT / edition.folder
    english, shown = (read(home / "notebooks" / f"{stem}.ipynb") for home in homes)
    pages = ((home / "lecture_notes" / f"{stem}.md").read_text(encoding="utf-8") for home in homes)
    about, sections = notes.read(*pages), cut(english, shown)
    card = list(blocks(english.cells[0].source, shown.cells[0].source))
    parts, made = {"1": t("class 1"), "2": t("class 2")}, []
    for number in about.plans:
        title = card[0].shown.removeprefix("# ") + (" · " + parts[number] if number else "")
        slides = [*_opening(title, card[1].shown, about, number), *_middle(of_class(sections, number), about, number)]
        slides += _ending(sections, about, number)
        path = folder / f"{stem}{f'_{number}' if number else ''}.html"
        lib = "../lib" if edition.folder else "lib"
        path.write_text(page(title, edition.lang, lib, about.plans[number], slides), encoding="utf-8")
        made.append((path, title))
    return made


def of_class(sections: list[Section], number: str) -> list[Section]:
    """Its sections, and those marked Deeper that follow them."""
    chosen, current = [], "1" if number else ""
    for section in sections:
        if section.part.startswith("Class"):
            current = section.part.removeprefix("Class").strip()
        if current == number:
            chosen.append(section)
    return chosen


def _opening(title: str, asked: str, about: notes.Notes, number: str) -> list[Slide]:
    """The title with the class's question, then its plan; what to say at any time, and advice, stand in the notes."""
    keys = t(
        "→ goes on, ↓ one step down, Space through all. Keys: S notes, C clock, D deeper, I guesses, ? all of them"
    )
    anytime = _say([block for block in about.say if not notes.cells(block)])
    texts = [f"# {title}", asked, *(block.shown for block in about.goal), f"*{keys}*"]
    table = "\n".join(f"| {row.minutes} | {row.what} |" for row in about.plans[number])
    plan = Slide("plan", "plan", [f"| {t('minutes')} | |\n|---|---|\n{table}"], say=_say(about.advice))
    return [Slide("title", "title", texts, say=anytime), plan]


def _middle(sections: list[Section], about: notes.Notes, number: str) -> list[Slide]:
    """The class's slides, each in the row of the plan that names its cell or the next one of its section."""
    row_of = {cell: i for i, row in reversed(list(enumerate(about.plans[number]))) for cell in row.cells}
    row = 0
    for section in sections:
        for i, slide in enumerate(section.slides):
            slide.deeper, slide.say = section.part == "Deeper", _what_to_say(slide, about)
            if not slide.deeper:
                coming = (row_of[cell] for later in section.slides[i:] for cell in later.cells if cell in row_of)
                slide.row = row = max(row, next(coming, row))
    return [slide for section in sections for slide in section.slides]


def _what_to_say(slide: Slide, about: notes.Notes) -> str:
    """Of the lecture notes, what names a cell of this slide."""
    own = {cell.removesuffix("-run") for cell in slide.cells}

    def speaks_of_it(block: notes.Block) -> bool:
        return bool(own & {cell.removesuffix("-run").removesuffix("-predict") for cell in notes.cells(block)})

    said = [block for block in (*about.say, *about.predictions) if speaks_of_it(block)]
    asked = [(q, answer) for q, answer in about.questions if any(map(speaks_of_it, answer))]
    return _say(said) + "".join(f"<p><b>{markdown(q.shown)}</b></p>{_say(answer)}" for q, answer in asked)


def _ending(sections: list[Section], about: notes.Notes, number: str) -> list[Slide]:
    """The lines to end with, after the last class; the questions that name a cell of this class, one a slide."""
    last = number == max(about.plans)
    own = {cell for section in of_class(sections, number) for cell in section.cells}
    every = {cell for section in sections for cell in section.cells}
    row = len(about.plans[number]) - 1
    slides = [Slide("end", "end", [block.shown for block in about.last_lines], row=row)] if last else []
    for i, (asked, answer) in enumerate(about.questions):
        named = {cell for block in answer for cell in notes.cells(block)} & every
        if (named & own) if named else last:
            read = [block.shown for block in answer]
            slides.append(Slide(f"question-{i + 1}", "question", [f"**{asked.shown}**"], read=read, row=row))
    return slides


def _say(items: list[notes.Block]) -> str:
    return "".join(markdown(item.shown) for item in items)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="the beginning of a notebook's name; none: all")
    names, out = parser.parse_args().names, ROOT / "build" / "slides"
    try:
        with anew(out) as aside:
            if names and out.is_dir():  # the other decks stay
                shutil.copytree(out, aside, dirs_exist_ok=True)
            n_made = len(make(aside, names))
        print(f"{out / 'index.html'}: {n_made} decks")
    except (OSError, ValueError) as error:
        sys.exit(f"{out} was not made, and is as it was: {reason(error)}")
