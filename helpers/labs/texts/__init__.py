"""What the course reads: its own story and documents, and a toy language whose entropy is known exactly."""

from helpers.labs.texts.grammar import toy_language
from helpers.labs.texts.language import ToyLanguage
from helpers.labs.texts.stories import documents, story

__all__ = ["ToyLanguage", "documents", "story", "toy_language"]
