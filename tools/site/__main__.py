"""The course as static pages in build/site: both editions, from what is stored in the notebooks; nothing is executed.

    python -m tools.site [--address https://where.it/will/be]

With an address the lecture notes show QR codes of their cards' pages.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlparse

import polib

from helpers import language
from helpers.language import t
from tools import anew, reason
from tools.notebooks import EDITIONS, ROOT, Edition
from tools.npm import packages
from tools.site.pages import card_page, write_sources

try:
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils
except ImportError as error:
    sys.exit(f"{error}: `make site` installs what makes pages, and then makes them")

HERE = Path(__file__).parent
SCRIPT = "mathjax/es5/tex-svg.js"  # formulas as SVG: some browsers refuse fonts to pages that are opened from a disk
THEME_SAYS = ("Skip to main content", "Back to top", "On this page", "Color mode", "System Settings", "Light", "Dark")
NOT_OF_THE_SITE = shutil.ignore_patterns("_sources", "locales", "objects.inv", "*-macros.html")
CONFIGURATION = {
    "extensions": ["myst_nb"],
    "nb_execution_mode": "off",
    "nb_mime_priority_overrides": [("html", "application/vnd.jupyter.widget-view+json", None)],
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_all_links_external": True,
    "html_theme": "sphinx_book_theme",
    "html_static_path": [str(HERE / "static")],
    "templates_path": [str(HERE / "templates")],
    "html_css_files": ["site.css"],
    "html_js_files": ["site.js"],
    "html_favicon": str(HERE / "static" / "favicon.svg"),
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "html_use_index": False,
    "suppress_warnings": ["misc.highlighting_failure"],  # a shell command within a program
    "mathjax_path": "tex-svg.js",
    "mathjax3_config": {"options": {"enableMenu": False}},
}


def make(out: Path, address: str = "") -> None:
    """Write the site into `out`, an empty folder.

    ConnectionError: MathJax is not here yet, and npm brings nothing. ValueError: a page that Sphinx warns of.
    """
    mathjax = packages() / SCRIPT
    for edition, other in (EDITIONS, EDITIONS[::-1]):
        language.choose(edition.language)
        try:
            with tempfile.TemporaryDirectory() as work:
                _make_edition(out / edition.folder, Path(work), edition, other, address)
        finally:
            language.choose(language.ENGLISH)
        shutil.copy(mathjax, out / edition.folder / "_static")
    (out / ".nojekyll").touch()


def _make_edition(out: Path, work: Path, edition: Edition, other: Edition, address: str) -> None:
    source, pages, words = work / "source", work / "pages", work / "words" / edition.language / "LC_MESSAGES"
    source.mkdir()
    words.mkdir(parents=True)
    _theme_words().save_as_mofile(words / "sphinx.mo")
    shown = write_sources(source, ROOT / edition.folder, ROOT / edition.readme, address)
    configuration = CONFIGURATION | _in_the_language(edition, other) | {"locale_dirs": [str(work / "words")]}
    with patch_docutils(), docutils_namespace():
        sphinx = Sphinx(source, None, pages, work / "doctrees", "html", configuration, None, warningiserror=True)
        sphinx.build()
    if sphinx.statuscode:
        raise ValueError(f"{edition.name}: Sphinx warns of what stands above; mend the notebook or page that it names")
    shutil.copytree(pages, out, dirs_exist_ok=True, ignore=NOT_OF_THE_SITE)
    (out / "cards").mkdir()
    for card in shown:
        page = card_page(card, edition.lang, f"../{_to(other)}cards/{card.name}.html", other.name)
        (out / "cards" / f"{card.name}.html").write_text(page, encoding="utf-8")


def _to(edition: Edition) -> str:
    """From the other edition's folder to that of this one."""
    return edition.folder or "../"


def _theme_words() -> polib.POFile:
    """What the theme itself says, in the chosen language."""
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalogue.extend(polib.POEntry(msgid=text, msgstr=t(text)) for text in THEME_SAYS)
    return catalogue


def _in_the_language(edition: Edition, other: Edition) -> dict[str, object]:
    """What of the configuration the reader sees."""
    return {
        "project": t("How a GPT is pretrained"),
        "html_title": t("How a GPT is pretrained"),
        "language": edition.language,
        "nb_code_prompt_show": t("Show the program"),
        "nb_code_prompt_hide": t("Hide the program"),
        "html_theme_options": {
            "article_header_end": ["course-language.html", "article-header-buttons.html"],
            "search_bar_text": t("Search the course"),
            "use_download_button": False,
            "show_toc_level": 2,
            "footer_content_items": [],
        },
        "html_context": {
            "default_mode": "auto",
            "other_language": other.lang,
            "other_name": other.name,
            "other_root": _to(other),
        },
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="", help="where the site will be")
    options, out = parser.parse_args(arguments), ROOT / "build" / "site"
    if options.address and not urlparse(options.address).netloc:
        parser.error(f"--address: expected such as https://name.github.io/course, got {options.address!r}")
    try:
        with anew(out) as aside:
            make(aside, options.address)
    except (OSError, ValueError) as error:
        print(f"{out} was not made, and is as it was: {reason(error)}", file=sys.stderr)
        return 1
    print(f"{out}: open {out / 'index.html'}, or put the folder on any static host")
    return 0


if __name__ == "__main__":
    sys.exit(main())
