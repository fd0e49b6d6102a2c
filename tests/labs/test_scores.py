"""BLEU and ROUGE by hand, the accent trap, and missing packages."""

import math
import sys
import unicodedata
from functools import partial

import pytest

from helpers.labs import scores
from tests.support import refusals, refused


def test_bleu_by_hand():
    same = ["o gato dorme no sofá"]
    assert scores.bleu(same, same) == pytest.approx(100)
    assert scores.bleu(["o gato dorme"], ["o gato dorme"]) == 0, "under four words, as its docstring says"
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 fours; as long as the reference
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert scores.bleu(same, ["o gato dorme no chão"]) == pytest.approx(expected)
    # brevity: all 5 words are right, the reference has 6
    assert scores.bleu(same, ["o gato dorme no sofá hoje"]) == pytest.approx(100 * math.exp(1 - 6 / 5))
    # counted over the corpus, not by sentence
    expected = 100 * math.prod([(4 + 3) / 8, (3 + 2) / 6, (2 + 1) / 4, 1 / 2]) ** 0.25
    assert scores.bleu([*same, "a chuva cai"], ["o gato dorme no chão", "a chuva cai"]) == pytest.approx(expected)


def test_rouge_by_hand():
    """All four words are shared, two of them in one order."""
    texts = "mãe avô pão rei", "o rei avô mãe e pão"
    for measure, of in (("precision", 4), ("recall", 6), ("f1", (4 + 6) / 2)):
        assert scores.rouge_1(*texts, measure=measure) == pytest.approx(4 / of)
        assert scores.rouge_l(*texts, measure=measure) == pytest.approx(2 / of)
    assert scores.rouge_1("", "a") == scores.rouge_l("", "a") == 0


def test_the_accent_trap():
    assert scores.words("Não é o avô?", keep_accents=False) == ["n", "o", "o", "av"]
    assert scores.words("é", keep_accents=False) == []
    assert scores.words("Não é o avô?") == ["não", "é", "o", "avô"]
    assert scores.rouge_l("avô", "avó", keep_accents=False) == 1 and scores.rouge_l("avô", "avó") == 0
    assert scores.rouge_1("é", "é", keep_accents=False) == 0 and scores.rouge_1("é", "é") == 1
    for function in (scores.rouge_1, scores.rouge_l):  # no accents, no difference
        assert function("the cat sat", "the cat ran", keep_accents=False) == function("the cat sat", "the cat ran")


def test_words_are_composed_and_of_any_script():
    assert scores.words(unicodedata.normalize("NFD", "AVÔ Ação")) == ["avô", "ação"]
    assert scores.words("guarda-chuva_azul, 2ª-feira\n привет") == ["guarda", "chuva", "azul", "2ª", "feira", "привет"]
    assert scores.words("... — !") == []
    assert scores.words("की का") == ["की", "का"], "two words of Hindi that differ in a vowel sign alone"
    assert scores.words("m̃ba m") == ["m̃ba", "m"], "a letter whose accent has no composed form"


ROUGE = (scores.rouge_1, scores.rouge_l)
test_refuses = refusals(
    *((scores.bleu, a, b, "as many references") for a, b in (([], []), (["a"], []), (["a"], ["a", "b"]))),
    *((scores.bleu, a, b, r"expected list \| tuple for .*, got str: 'a") for a, b in (("a", ["a"]), (["a"], "a"))),
    *((rouge, "a", " ?!", "at least one word") for rouge in ROUGE),
    *((partial(rouge, measure="f2"), "a", "a", "one of f1, precision, recall, got 'f2'") for rouge in ROUGE),
)


def test_what_cannot_be_scored_is_said():
    refused("expected str for text, got NoneType", scores.bleu, [None], ["a"])
    refused("texts of at most 2,000 words each", scores.rouge_l, "a " * 2_001, "a " * 2_000)
    refused("texts of at most 2,000 words each", scores.rouge_l, "aé" * 2_001, "aé" * 2_001, keep_accents=False)
    assert scores.rouge_1("a " * 10_000, "a " * 10_000) == 1, "which compares no pairs"


def test_missing_packages_are_named_with_the_way_out(monkeypatch):
    for name in ("sacrebleu", "rouge_score", "rouge_score.rouge_scorer", "rouge_score.tokenize"):
        monkeypatch.setitem(sys.modules, name, None)
    refused("needs sacrebleu, which is not installed: pip install", scores.bleu, ["a"], ["a"], error=ImportError)
    refused("needs rouge_score, which is not installed: pip install", scores.rouge_l, "a", "a", error=ImportError)
    refused("rouge_score", scores.words, "a", keep_accents=False, error=ImportError)
    assert scores.words("é") == ["é"]
