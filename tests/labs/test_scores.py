"""BLEU and ROUGE by hand, the accent trap, and missing packages."""

from __future__ import annotations

import math
import unicodedata

import pytest

from helpers.labs import scores


def test_bleu_by_hand():
    assert scores.bleu(["o gato dorme no sofá"], ["o gato dorme no sofá"]) == pytest.approx(100)
    assert scores.bleu(["o gato dorme"], ["o gato dorme"]) == 0, "under four words, as its docstring says"
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 fours; as long as the reference
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert scores.bleu(["o gato dorme no sofá"], ["o gato dorme no chão"]) == pytest.approx(expected)
    # brevity: all 5 words are right, the reference has 6
    short = scores.bleu(["o gato dorme no sofá"], ["o gato dorme no sofá hoje"])
    assert short == pytest.approx(100 * math.exp(1 - 6 / 5))


def test_bleu_counts_over_the_corpus_not_by_sentence():
    hypotheses = ["o gato dorme no sofá", "a chuva cai"]
    references = ["o gato dorme no chão", "a chuva cai"]
    counts = [((4 + 3) / 8), ((3 + 2) / 6), ((2 + 1) / 4), (1 / 2)]
    assert scores.bleu(hypotheses, references) == pytest.approx(100 * math.prod(counts) ** 0.25)


def test_rouge_by_hand():
    """All four words are shared, two of them in one order."""
    texts = "mãe avô pão rei", "o rei avô mãe e pão"
    for measure, of in (("precision", 4), ("recall", 6), ("f1", (4 + 6) / 2)):
        assert scores.rouge_1(*texts, measure=measure) == pytest.approx(4 / of)
        assert scores.rouge_l(*texts, measure=measure) == pytest.approx(2 / of)


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


def test_refuses():
    for hypotheses, references in (([], []), (["a"], []), (["a"], ["a", "b"])):
        with pytest.raises(ValueError, match="as many references"):
            scores.bleu(hypotheses, references)
    for hypotheses, references in (("a", ["a"]), (["a"], "a")):
        with pytest.raises(ValueError, match=r"expected list \| tuple for .*, got str: 'a"):
            scores.bleu(hypotheses, references)
    for function in (scores.rouge_1, scores.rouge_l):
        with pytest.raises(ValueError, match="at least one word"):
            function("a", " ?!")
        with pytest.raises(ValueError, match="measure must be one of f1, precision, recall, got 'f2'"):
            function("a", "a", measure="f2")
        assert function("", "a") == 0


def test_missing_packages_are_named_with_the_way_out(monkeypatch):
    for name in ("sacrebleu", "rouge_score", "rouge_score.rouge_scorer", "rouge_score.tokenize"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ImportError, match=r"needs sacrebleu, which is not installed: pip install sacrebleu"):
        scores.bleu(["a"], ["a"])
    with pytest.raises(ImportError, match=r"needs rouge_score, which is not installed: pip install .*rouge-score"):
        scores.rouge_l("a", "a")
    with pytest.raises(ImportError, match="rouge_score"):
        scores.words("a", keep_accents=False)
    assert scores.words("é") == ["é"]
