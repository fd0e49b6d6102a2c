"""The story has the length that the course is planned for; the documents spread as on the web; all are plain text."""

import re
import unicodedata
from collections import Counter
from itertools import combinations

from helpers.gpt import tokenizer
from helpers.labs import texts
from tests.support import refused

KINDS = {"carta", "cronica", "dialogo", "enciclopedia", "instrucoes", "noticia", "receita", "verso"}


def test_the_story_is_as_long_as_planned_and_the_same_in_portuguese():
    english, portuguese = map(texts.story, ("english", "portuguese"))
    assert 5_000 <= len(tokenizer.gpt2().encode(english)) <= 5_500 and english.isascii()
    assert texts.story() == english
    for story, title, refrain in (
        (english, "Bring the House", "tell whoever did not"),
        (portuguese, "Traga a casa", "conte a quem não ouviu"),
    ):
        paragraphs = story.strip().split("\n\n")
        assert paragraphs[0] == title and len(paragraphs) > 100 and story.count(refrain) >= 5
        assert all("\n" not in p and p == p.strip() for p in paragraphs)
        assert story == unicodedata.normalize("NFC", story) and story.endswith("\n") and not story.endswith("\n\n")
    assert english.count("\n\n") == portuguese.count("\n\n")
    for name in ("Zeca", "Vera", "Bento", "Tito"):
        there, here = english.count(name), portuguese.count(name)
        assert there >= 15 and abs(here - there) <= 0.3 * there, name
    refused("english, portuguese, got 'latin'", texts.story, "latin")


def test_documents_are_many_and_of_all_kinds_and_lengths():
    documents = texts.documents()
    assert len(documents) >= 80 and sum(len(d.text.encode()) for d in documents) >= 150_000
    kinds = Counter(d.kind for d in documents)
    assert set(kinds) == KINDS and min(kinds.values()) >= 5
    words = sorted(len(d.text.split()) for d in documents)
    assert 40 <= words[0] < 70 and 800 < words[-1] <= 910
    assert len([w for w in words if w < 130]) >= 20 and len([w for w in words if w > 400]) >= 20


def test_documents_are_plain_text():
    for d in texts.documents():
        assert d.text == unicodedata.normalize("NFC", d.text), d.name
        assert d.text.endswith("\n") and not d.text.endswith("\n\n"), d.name
        title, blank, rest = d.text.split("\n", 2)
        assert title == d.title and not blank and rest.strip(), d.name
        assert all(line == line.strip() and "  " not in line for line in d.text.splitlines()), d.name
        assert not re.search(r"[*_#`\t]|https?:", d.text), d.name
    names = [d.name for d in texts.documents()]
    assert names == sorted(names) and [int(n[:3]) for n in names] == list(range(1, len(names) + 1))


def test_no_document_repeats_another():
    runs = {
        d.name: {tuple(w) for w in zip(*(d.text.split()[i:] for i in range(8)), strict=False)}
        for d in texts.documents()
    }
    for a, b in combinations(runs, 2):
        assert not runs[a] & runs[b], (a, b)
    assert len({d.title for d in texts.documents()}) == len(runs)
