"""What the course reads: its own story and documents, and a toy language whose entropy is known exactly."""

from helpers.labs.texts._lexicons import LEXICONS, toy_language
from helpers.labs.texts._story import ASSETS, STORY_FILES, Document, documents, story
from helpers.labs.texts._toy import END_OF_TEXT, ToyLanguage

__all__ = [
    "ASSETS",
    "END_OF_TEXT",
    "LEXICONS",
    "STORY_FILES",
    "Document",
    "ToyLanguage",
    "documents",
    "story",
    "toy_language",
]
