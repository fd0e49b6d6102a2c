"""The story is the length that the course is planned for, and plain enough for any tool."""

from __future__ import annotations

from helpers import texts, tokenizer


def test_story_has_the_planned_length():
    assert 5_000 <= len(tokenizer.gpt2().encode(texts.story())) <= 5_500


def test_story_is_plain_paragraphs():
    story = texts.story()
    paragraphs = story.strip().split("\n\n")
    assert paragraphs[0] == "Bring the House"
    assert len(paragraphs) > 100
    assert all("\n" not in p and p == p.strip() for p in paragraphs)
    assert story.isascii() and story.endswith(".\n")


def test_names_and_the_refrain_come_back():
    for name in ("Zeca", "Vera", "Bento", "Tito"):
        assert texts.story().count(name) >= 15, name
    assert texts.story().count("tell whoever did not") >= 5
