"""The mixture of authors: all documents of a tiny one listed, long samples counted, and the source of notebook 10."""

import itertools
import math

import numpy as np
import pytest

from helpers.labs import scaling
from tests.support import refusals


def tiny(n_tokens: int = 4) -> scaling.Authors:
    """Two authors, three words; every probability drawn, so that no two are equal."""
    generator = np.random.default_rng(7)
    return scaling.Authors(np.array([0.3, 0.7]), generator.dirichlet(np.ones(3), (2, 4)), n_tokens)


def all_documents(source: scaling.Authors) -> list[tuple[tuple[int, ...], list[float]]]:
    """Every document: its ids, and the probability of each token given those before it."""
    found = []
    for author in range(source.n_authors):
        for words in itertools.product(range(source.n_words), repeat=source.n_tokens - 1):
            before = (source.n_words, *words)
            probs = [source.word_probs[author, b, c] for b, c in itertools.pairwise(before)]
            found.append(((source.n_words + author, *words), [source.author_probs[author], *probs]))
    return found


def test_expected_losses_are_those_of_all_documents_listed():
    source = tiny()
    expected = np.zeros(4)
    for _, probs in all_documents(source):
        expected -= math.prod(probs) * np.log(probs)
    assert source.expected_loss() == pytest.approx(expected, abs=1e-12)
    assert source.entropy_rate() == pytest.approx(expected[1:].mean(), abs=1e-12)
    total = sum(-p * math.log(p) for p in (math.prod(probs) for _, probs in all_documents(source)))
    assert expected.sum() == pytest.approx(total, abs=1e-12)  # the chain rule


def test_the_bigram_entropy_is_that_of_all_pairs_counted():
    source = tiny()
    pairs = np.zeros((4, 3))
    for ids, probs in all_documents(source):
        for before, word in itertools.pairwise((source.n_words, *ids[1:])):
            pairs[before, word] += math.prod(probs)
    conditional = pairs / pairs.sum(1, keepdims=True)
    assert source.bigram_entropy() == pytest.approx(-(pairs * np.log(conditional)).sum() / 3, abs=1e-12)
    assert source.entropy_rate() < source.bigram_entropy() < math.log(3)


def test_documents_come_as_often_as_their_probability_says_and_with_their_true_loss():
    source, n = tiny(), 200_000
    listed = dict(all_documents(source))
    drawn = source.sample(n, seed=0)
    found, counts = np.unique(drawn.token_ids, axis=0, return_counts=True)
    counted = dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))
    documents = {ids: math.prod(probs) for ids, probs in listed.items()}
    assert set(counted) <= set(documents)
    z = [(counted.get(ids, 0) - n * p) / math.sqrt(n * p * (1 - p)) for ids, p in documents.items()]
    assert max(map(abs, z)) < 4.5 and 0.7 < np.std(z) < 1.3
    assert drawn.token_ids.shape == drawn.true_nll.shape == (n, 4) and drawn.token_ids.dtype == np.int64
    for ids, nll in zip(drawn.token_ids[:50].tolist(), drawn.true_nll, strict=False):
        assert nll == pytest.approx(-np.log(listed[tuple(ids)]), abs=1e-12)
    (a, again, other), named = (source.sample(100, seed).token_ids for seed in (0, 0, 1)), scaling.authors(8, 5, 6, 2)
    assert (a == again).all() and (a != other).any()
    assert (scaling.authors(8, 5, 6, seed=3).word_probs != named.word_probs).any()


def test_the_source_of_the_notebook_loses_what_was_computed():
    source = scaling.authors()
    assert (source.n_authors, source.n_words, source.vocab_size, source.n_tokens) == (1024, 128, 1152, 32)
    assert source is scaling.authors()
    documents = source.sample(8_000, seed=1)
    error = documents.true_nll.std(0) / math.sqrt(8_000)
    assert (np.abs(documents.true_nll.mean(0) - source.expected_loss()) < 4.5 * error).all()
    assert source.entropy_rate() == pytest.approx(3.0513, abs=1e-4)  # as an earlier program of other code found
    assert source.bigram_entropy() - source.entropy_rate() > 0.45
    assert documents.token_ids[:, 1:].max() < 128 <= documents.token_ids[:, 0].min()


test_what_does_not_fit_is_refused = refusals(
    (lambda: scaling.authors(8, 5, n_tokens=2), "n_tokens must be a whole number of at least 3, got 2"),
    (lambda: tiny().sample(0, seed=0), "n_documents must be a whole number of at least 1, got 0"),
    (lambda: tiny().sample(1, seed=-1), "seed must be a whole number of at least 0, got -1"),
    (lambda: scaling.authors(n_authors=0), "n_authors must be a whole number"),
)
