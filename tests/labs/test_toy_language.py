"""The toy language: hand-computed entropies, linear algebra and counting agree with what it computes."""

import hashlib
import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.gpt import END_OF_TEXT
from helpers.labs import texts
from tests.support import refusals, refused

ENGLISH, PORTUGUESE = "english", "portuguese"
both_lexicons = pytest.mark.parametrize("lexicon", [ENGLISH, PORTUGUESE])


def echo() -> texts.ToyLanguage:
    """heads or tails, "then" the same again: a fair choice and a memory of it."""
    rules = {"start": [("heads", 1, "h"), ("tails", 1, "t")], "stop": [(END_OF_TEXT, 1, "start")]}
    for side, word in (("h", "heads"), ("t", "tails")):
        rules |= {side: [("then", 1, f"{side}2")], f"{side}2": [(word, 1, "stop")]}
    return texts.ToyLanguage.from_rules(rules)


def test_echo_and_laughter_by_hand():
    """Four tokens and one fair choice among them; each token has a share of 1/4, each neighbour is one of two."""
    language = echo()
    assert language.vocabulary == (END_OF_TEXT, "heads", "tails", "then")
    assert language.entropy_rate() == pytest.approx(math.log(2) / 4)
    assert language.bigram_entropy() == pytest.approx(math.log(2))
    assert language.unigram_entropy() == pytest.approx(math.log(4))
    np.testing.assert_allclose(language.log_probs([2, 3, 2, 0, 1]), [-math.log(2), 0, 0, 0, -math.log(2)])
    coin = texts.ToyLanguage.from_rules({"go": [("ha", 5, "go"), (END_OF_TEXT, 5, "go")]})  # another "ha" or the end
    assert -coin.log_probs([1, 1, 0]).sum() == pytest.approx(3 * math.log(2))
    for line in (coin.entropy_rate, coin.bigram_entropy, coin.unigram_entropy):
        assert line() == pytest.approx(math.log(2)), "one bit per token"


@given(st.integers(1, 7), st.integers(0, 9999))
def test_expectations_agree_with_linear_algebra(n_states, seed):
    """The stream is a Markov chain over (state, last token): its stationary shares by dense algebra give every line."""
    rng = random.Random(seed)
    rules = {
        state: [(word, rng.random() + 0.01, rng.randrange(n_states)) for word in rng.sample("abcde", rng.randint(1, 5))]
        + [(END_OF_TEXT, rng.random() + 0.05, 0)]
        for state in range(n_states)
    }
    language = texts.ToyLanguage.from_rules(rules)
    S, V = language.probs.shape
    chain = np.zeros((S * V, S * V))
    for state, last, token in itertools.product(range(S), range(V), range(V)):
        if language.probs[state, token]:
            after = language.next_states[state, token] * V + token
            chain[state * V + last, after] += language.probs[state, token]
    equations = np.vstack([chain.T - np.eye(S * V), np.ones(S * V)])
    shares = np.linalg.lstsq(equations, np.r_[np.zeros(S * V), 1.0], rcond=None)[0].reshape(S, V)
    pairs = shares.T @ language.probs
    conditional = -sum(p * math.log(p / row.sum()) for row in pairs for p in row if p > 1e-14)
    rate = -sum(shares[s].sum() * p * math.log(p) for s in range(S) for p in language.probs[s] if p)
    marginal = pairs.sum(0)
    assert language.bigram_entropy() == pytest.approx(conditional, abs=1e-9)
    assert language.entropy_rate() == pytest.approx(rate, abs=1e-9)
    assert language.unigram_entropy() == pytest.approx(-sum(p * math.log(p) for p in marginal if p > 1e-14), abs=1e-9)
    assert language.unigram_entropy() >= language.bigram_entropy() - 1e-12 >= language.entropy_rate() - 2e-12


@both_lexicons
def test_monte_carlo_agrees_with_the_exact_rate(lexicon):
    language = texts.toy_language(lexicon)
    n = 2000
    ids = language.ids(400_000, seed=3)
    assert set(ids.tolist()) == set(range(language.vocab_size)), "every word occurs"
    ends = np.flatnonzero(ids == language.end_id)[:n]
    assert len(ends) == n
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    nats = -np.add.reduceat(language.log_probs(ids[: ends[-1] + 1]), starts)
    rate = language.entropy_rate()
    error = (nats - rate * lengths).std() / math.sqrt(n) / lengths.mean()
    assert abs(nats.sum() / lengths.sum() - rate) < 4 * error


@pytest.mark.parametrize(("lexicon", "hero", "other"), [(ENGLISH, "Rose", "Clara"), (PORTUGUESE, "Pedro", "Caetano")])
def test_the_title_matters_to_the_end(lexicon, hero, other):
    """Two heroes, all else the same: sentences later only the one of the title can come, which no bigram can know."""
    language = texts.toy_language(lexicon)
    title, body = language.document(6).split("\n\n", 1)
    assert title.split()[0] == hero
    for own, foreign in ((hero, other), (other, hero)):
        prefix = language.encode(f"{own} {title.split(' ', 1)[1]}\n\n{body.replace(hero, own)}")
        assert len(prefix) > 60
        assert language.log_probs([*prefix, *language.encode(own)])[-1] > math.log(0.1)
        refused(f"cannot produce '{foreign}'", language.log_probs, [*prefix, *language.encode(foreign)])


@pytest.mark.parametrize(
    ("lexicon", "begins", "may_follow", "may_not"),
    [
        (ENGLISH, "Clara and the sea\n\nThe old fisherman who sees the boats", "sings", "sing"),
        (ENGLISH, "Clara and the sea\n\nThe fishermen who the captain sees", "sing", "sings"),
        (ENGLISH, "Clara and the sea\n\nThe fisherman who the gulls", "see", "sees"),
        (ENGLISH, "Clara and the forest\n\nToday, the foxes sing and", "sleep", "sleeps"),
        (ENGLISH, "Clara and the sea\n\nTwo", "captains", "captain"),
        (ENGLISH, "Clara and the sea\n\n", "She", "He"),
        (ENGLISH, "Henry and the sea\n\n", "Henry", "Clara"),
        (PORTUGUESE, "Joana e o mar\n\nA gaivota que vê os barcos", "canta", "cantam"),
        (PORTUGUESE, "Joana e o mar\n\nAs gaivotas", "velhas", "velhos"),
        (PORTUGUESE, "Joana e o mar\n\nA gaivota canta na", "praia", "porto"),
        (PORTUGUESE, "Joana e o mar\n\n", "Ela", "Ele"),
        (PORTUGUESE, "Joana e", "o", "os"),
    ],
)
def test_words_agree_with_what_stands_before(lexicon, begins, may_follow, may_not):
    """In number, across a relative clause too, in gender, and with the hero of the title."""
    language = texts.toy_language(lexicon)
    prefix = language.encode(begins)
    assert language.log_probs([*prefix, *language.encode(may_follow)])[-1] < 0
    refused(f"cannot produce '{may_not}'", language.log_probs, [*prefix, *language.encode(may_not)])


@both_lexicons
def test_round_trip_and_shape_of_documents(lexicon):
    language = texts.toy_language(lexicon)
    drawn = language.documents(300, seed=2)
    for text in drawn:
        assert language.decode(language.encode(text)) == text
        assert text.endswith(".") and text.count("\n\n") >= 1 and "  " not in text
    stream = language.ids(5000, seed=2)
    assert language.encode(language.decode(stream)) == stream.tolist()
    lengths = sorted(len(text.split()) for text in drawn)
    assert lengths[15] < 20 and lengths[-15] > 250


def test_document_documents_and_ids_cut_one_stream():
    language = texts.toy_language(ENGLISH)
    drawn = language.documents(3, seed=17)
    whole = language.encode(END_OF_TEXT.join(drawn) + END_OF_TEXT)
    assert language.document(17) == drawn[0] and language.documents(3, seed=18) != drawn
    for n in (1, 40, len(whole)):
        ids = language.ids(n, seed=17)
        assert ids.dtype == np.int64 and ids.tolist() == whole[:n]


@pytest.mark.parametrize(
    ("lexicon", "sha256"),
    [
        (ENGLISH, "68e0c440ba92044d560160ee519f5f299c3e09db36599a27f83d2ac49926546c"),
        (PORTUGUESE, "0197c7e9c7b9157239ada8c08ae6173962684487b10ac7366ad759ee3a9478ed"),
    ],
)
def test_same_seed_same_text_everywhere(lexicon, sha256):
    text = END_OF_TEXT.join(texts.toy_language(lexicon).documents(50, seed=np.int32(2026)))
    assert hashlib.sha256(text.encode()).hexdigest() == sha256


ECHO = echo()
test_refuses_what_it_would_not_write = refusals(
    (ECHO.encode, "heads then cats", "'cats' at position 2"),
    (ECHO.encode, "Heads", "'Heads' at position 0"),
    (ECHO.encode, "heads  then heads", "character 6"),
    (ECHO.encode, "heads then heads ", "character 16"),
    (ECHO.encode, " heads", "character 0"),
    (ECHO.encode, "heads\nthen", "character 5"),
    *((function, [1, 4], "0, 4.*1 to 4") for function in (ECHO.decode, ECHO.log_probs)),
    *((function, [-1], "-1 to -1") for function in (ECHO.decode, ECHO.log_probs)),
    *((function, [0.5], "got float64") for function in (ECHO.decode, ECHO.log_probs)),
    *((function, [[1, 3]], "shape") for function in (ECHO.decode, ECHO.log_probs)),
    (ECHO.log_probs, ECHO.encode("heads then tails"), "cannot produce 'tails' at position 2, after 'heads then'"),
    *((function, 0, 1, "at least 1, got 0") for function in (ECHO.documents, ECHO.ids)),
    *((function, 5, seed, "seed must be a whole") for function in (ECHO.documents, ECHO.ids) for seed in (-1, [1])),
    (texts.toy_language, "french", r"english, portuguese, got 'french'"),
    (lambda: texts.toy_language().probs.fill(0), "read-only"),
)
