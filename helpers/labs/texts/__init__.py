"""What the course reads: its own story and documents, and a toy language whose entropy is known exactly."""

from helpers.labs.texts.grammar import Lexicon, lexicon, toy_language
from helpers.labs.texts.language import ToyLanguage
from helpers.labs.texts.stories import Document, documents, story

__all__ = ["Document", "Lexicon", "ToyLanguage", "documents", "lexicon", "story", "toy_language"]
