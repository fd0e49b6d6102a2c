"""Scaling laws on a source whose entropy is known. Notebook 10."""

from helpers.labs.scaling.source import Authors, Documents, authors

__all__ = ["Authors", "Documents", "authors"]
