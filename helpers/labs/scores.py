"""BLEU and ROUGE of a text against a reference, by sacrebleu and rouge-score; ROUGE with accents kept."""

import importlib
import math
import unicodedata
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace

from helpers.gpt import require_kind, require_one_of

INSTALL = "pip install sacrebleu rouge-score"
MAX_PAIRS = 4_000_000  # of words, for each of which rouge-score keeps a number of ROUGE-L: seconds
MEASURES = {"f1": "fmeasure", "precision": "precision", "recall": "recall"}


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU, 0 to 100: n-grams of up to 4 words that stand in the reference too, and a penalty for brevity.

    Over a whole corpus, not a mean of sentences; sacrebleu's own tokenizer (13a) and smoothing (exp). Where no text has
    four words it is 0, even if hypothesis and reference are the same.
    ValueError: no text, or not one reference for each. ImportError: sacrebleu is not installed.
    Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    """
    require_kind(list | tuple, hypotheses=hypotheses, references=references)
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"expected as many references as hypotheses and at least one, got {len(references)} and {len(hypotheses)}"
        )
    for text in (*hypotheses, *references):
        require_kind(str, text=text)
    return float(_library("sacrebleu").corpus_bleu(list(hypotheses), [list(references)]).score)


def rouge_1(hypothesis: str, reference: str, keep_accents: bool = True, measure: str = "f1") -> float:
    """Words that both texts share, in [0, 1]. Arguments and errors as for `rouge_l`."""
    return _rouge("rouge1", hypothesis, reference, keep_accents, measure)


def rouge_l(hypothesis: str, reference: str, keep_accents: bool = True, measure: str = "f1") -> float:
    """The longest sequence of words that stands in both texts in this order, gaps allowed, in [0, 1].

    keep_accents  True: words as `words` has them. False: rouge-score's default, which takes every letter outside
                  a to z for a space, so that words with accents fall to pieces
    measure       "recall": share of the reference's words; "precision": of the hypothesis's; "f1": both

    ValueError: a reference without a word as `words` has it, texts of more than some 2,000 words, or another measure.
    ImportError: without rouge-score.
    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
    """
    return _rouge("rougeL", hypothesis, reference, keep_accents, measure)


def words(text: str, keep_accents: bool = True) -> list[str]:
    """What ROUGE counts: the text's words in lower case, composed (NFC): letters, marks and digits of any script.

    keep_accents  False: rouge-score's default tokenizer, as in `rouge_l`

    Marks count: without them two different words of Hindi, whose vowels are marks, would be one.
    """
    require_kind(str, text=text)
    if not keep_accents:
        return _library("rouge_score.tokenize").tokenize(text, None)
    composed = unicodedata.normalize("NFC", text).lower()
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in composed).split()


def _rouge(kind: str, hypothesis: str, reference: str, keep_accents: bool, measure: str) -> float:
    require_one_of(MEASURES, measure=measure)
    if not words(reference):
        raise ValueError(f"expected a reference with at least one word, got {reference!r:.60}")
    if kind == "rougeL" and math.prod(len(words(x, keep_accents)) for x in (reference, hypothesis)) > MAX_PAIRS:
        raise ValueError(f"expected texts of at most {math.isqrt(MAX_PAIRS):,} words each: score them part by part")
    tokenizer = SimpleNamespace(tokenize=words) if keep_accents else None  # in the form that rouge-score asks for
    scorer = _library("rouge_score.rouge_scorer").RougeScorer([kind], tokenizer=tokenizer)
    return float(getattr(scorer.score(reference, hypothesis)[kind], MEASURES[measure]))


def _library(name: str) -> ModuleType:
    """A module of an optional package, imported where it is used."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this score needs {name.split('.')[0]}, which is not installed: {INSTALL}") from error
