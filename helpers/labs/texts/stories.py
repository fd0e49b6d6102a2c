"""The course's own texts, written for it, which no published model has seen: a story in two languages, documents."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from helpers.gpt import require_one_of

ASSETS = Path(__file__).parents[2] / "assets"
STORIES = {"english": ASSETS / "bring_the_house.txt", "portuguese": ASSETS / "traga_a_casa.txt"}
DOCUMENTS = ASSETS / "portuguese"


@cache
def story(language: str = "english") -> str:
    """Bring the House, the course's short story, or Traga a casa, the same in Portuguese. CC BY 4.0.

    Its title, then paragraphs, a blank line between them. ValueError: another language.
    """
    require_one_of(STORIES, language=language)
    return STORIES[language].read_text(encoding="utf-8")


@dataclass(frozen=True)
class Document:
    """A short text: its `kind`, such as "cronica" or "receita", its `title`, and the whole `text`, title included."""

    name: str
    kind: str
    title: str
    text: str


@cache
def documents() -> tuple[Document, ...]:
    """Short documents in Brazilian Portuguese, in a fixed order, lengths as widely spread as on the web. CC BY 4.0.

    Kinds: cronica, noticia, receita, carta, dialogo, enciclopedia, instrucoes, verso. News, people and firms are
    invented.
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCUMENTS.glob("[!.]*.txt"))}
    return tuple(Document(name, name.split("-")[1], text.partition("\n")[0], text) for name, text in texts.items())
