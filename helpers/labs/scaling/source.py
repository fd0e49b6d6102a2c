"""A source of text whose entropy is known: documents of many authors, each of whom prefers words of their own.

Notebook 10 trains models on it. A small model learns what all authors share, a larger one what each of them prefers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from helpers.gpt import require_whole
from helpers.labs.texts import ToyLanguage, toy_language
from helpers.labs.texts.language import entropy

DECAY = 0.8  # of the spectrum of tastes: direction number j of the vocabulary counts j ** -0.8
TASTE, GRAMMAR = 1.0, 0.8  # how strongly an author's preferences and the word before move a score


class Documents(NamedTuple):
    """Sampled documents, and what the source itself would have lost on each token of them."""

    token_ids: np.ndarray  # (n, T) int64: the author's name, then words
    true_nll: np.ndarray  # (n, T) float64, nats: -ln p(token | all before it), p being the source's own


class Source:
    """Documents of `n_tokens` tokens, in which ids below `n_words` may come next.

    A kind of source has `_columns(n_documents, generator)`, which draws: token after token of each document, and its
    probability, two arrays (n,).
    """

    def sample(self, n_documents: int, seed: int) -> Documents:
        """Fresh documents, the same for the same seed. ValueError: fewer than one, or a seed below 0."""
        require_whole(n_documents=n_documents)
        require_whole(at_least=0, seed=seed)
        columns = self._columns(n_documents, np.random.default_rng(seed))
        token_ids, probs = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
        return Documents(token_ids, -np.log(probs))


@dataclass(frozen=True, eq=False)
class Authors(Source):
    """A mixture of K authors. A document is an author's name, then words, each drawn given that author and the word
    before it. The name is written, so that nothing has to be guessed: every probability is exact.

    author_probs  (K,) float64, p(author), summing to 1
    word_probs    (K, W + 1, W) float64, p(word | author, word before); row W is for the first word, after the name
    n_tokens      T, tokens of a document, the name included

    Words have the ids 0 to W - 1, author k has W + k; `vocab_size` is W + K. Build one with `authors`.
    """

    author_probs: np.ndarray
    word_probs: np.ndarray
    n_tokens: int

    @property
    def n_authors(self) -> int:
        return len(self.author_probs)

    @property
    def n_words(self) -> int:
        return self.word_probs.shape[-1]

    @property
    def vocab_size(self) -> int:
        return self.n_words + self.n_authors

    def _columns(self, n_documents: int, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        author = _draw(_steps(self.author_probs[None]), np.zeros(n_documents, np.int64), generator)
        yield self.n_words + author, self.author_probs[author]
        steps, before = _steps(self.word_probs.reshape(-1, self.n_words)), self.n_words
        for _ in range(self.n_tokens - 1):
            word = _draw(steps, author * (self.n_words + 1) + before, generator)
            yield word, self.word_probs[author, before, word]
            before = word

    def expected_loss(self) -> np.ndarray:
        """(T,) nats: what a perfect predictor loses on average at each position; the first is the name's."""
        rows = entropy(self.word_probs)  # (K, W + 1)
        losses = [entropy(self.author_probs), self.author_probs @ rows[:, -1]]
        for before in self._word_shares():
            losses.append(self.author_probs @ (before * rows[:, :-1]).sum(-1))
        return np.array(losses)

    def entropy_rate(self) -> float:
        """Expected loss of a perfect predictor over a document's words, the name not counted: nats per word."""
        return float(self.expected_loss()[1:].mean())

    def bigram_entropy(self) -> float:
        """Expected loss over the words of the best predictor that sees only the word before: nats per word.

        Of a first word it knows only that it is the first.
        """
        first = entropy(self.author_probs @ self.word_probs[:, -1])
        before = self.author_probs[:, None] * sum(self._word_shares())  # (K, W), summed over positions
        pairs = np.einsum("kb,kbc->bc", before, self.word_probs[:, :-1])
        rest = pairs.sum(1) @ entropy(pairs / pairs.sum(1, keepdims=True))
        return float((first + rest) / (self.n_tokens - 1))

    def _word_shares(self) -> list[np.ndarray]:
        """(K, W) for each position but the last that holds a word: p(word there | author)."""
        shares = [self.word_probs[:, -1]]
        for _ in range(self.n_tokens - 3):
            shares.append(np.matmul(shares[-1][:, None], self.word_probs[:, :-1])[:, 0])
        return shares


@cache
def authors(n_authors: int = 1024, n_words: int = 128, n_tokens: int = 32, seed: int = 0) -> Authors:
    """The source of notebook 10: p(word | author, word before) is the softmax of a sum of three scores.

    They are how frequent the word is (Zipf), how well it follows the word before, and how much the author likes it.
    The last two are random matrices whose directions matter less and less, as j ** -DECAY: there is always a little
    more to learn. Authors are Zipf-distributed too, so that rare ones need much text.

    ValueError: sizes below 1, fewer than three tokens, or a seed below 0.
    """
    require_whole(n_authors=n_authors, n_words=n_words)
    require_whole(at_least=3, n_tokens=n_tokens)
    require_whole(at_least=0, seed=seed)
    generator = np.random.default_rng(seed)
    spectrum = np.arange(1, n_words + 1.0) ** -DECAY

    def scores(rows: int) -> np.ndarray:
        return (generator.standard_normal((rows, n_words)) * spectrum) @ generator.standard_normal((n_words, n_words))

    taste, grammar = TASTE * scores(n_authors), GRAMMAR * scores(n_words + 1)
    logits = grammar[None] + taste[:, None] - np.log(np.arange(n_words) + 2.0)  # (K, W + 1, W)
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    author_probs = 1 / np.arange(1, n_authors + 1.0)
    return Authors(author_probs / author_probs.sum(), probs, n_tokens)


def _steps(probs: np.ndarray) -> np.ndarray:
    """Cumulative probabilities of all rows in one ascending list: those of row r lie in (r, r + 1]."""
    cumulative = probs.cumsum(-1)
    cumulative[:, -1] = 1.0
    return (cumulative + np.arange(len(probs))[:, None]).ravel()


def _draw(steps: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """An outcome from each of `rows`, by one search. A float32 draw plus the number of a row is exact in float64."""
    n_outcomes = len(steps) // int(steps[-1])
    return np.searchsorted(steps, rows + generator.random(len(rows), np.float32), side="right") - rows * n_outcomes


@dataclass(frozen=True, eq=False)
class ToyDocuments(Source):
    """The toy language of notebook 03 in the same form: windows of T tokens, each from the beginning of a document.

    A window may reach into the next document; the state of the language is known all along, and so is the true loss.
    Build one with `toy_documents`.
    """

    language: ToyLanguage
    n_tokens: int

    @property
    def vocab_size(self) -> int:
        return self.language.vocab_size

    n_words = vocab_size

    def _columns(self, n_documents: int, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        steps, state = _steps(self.language.probs), np.zeros(n_documents, np.int64)
        for _ in range(self.n_tokens):
            token = _draw(steps, state, generator)
            yield token, self.language.probs[state, token]
            state = self.language.next_states[state, token]


@cache
def toy_documents() -> ToyDocuments:
    """The toy language in windows of 32 tokens."""
    return ToyDocuments(toy_language(), n_tokens=32)
