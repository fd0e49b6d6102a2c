"""A language that is a table: in each state every possible next word, its exact probability, and the state after it."""

import random
import re
from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from math import fsum

import numpy as np
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import spsolve

from helpers.gpt import END_OF_TEXT, require_whole

PARAGRAPH = "\n\n"
MARKS = ".,;:!?"
_PIECE = re.compile(rf"{re.escape(END_OF_TEXT)}|{PARAGRAPH}|[{MARKS}]|[^\s{MARKS}<>]+")
Rules = Mapping[Hashable, Sequence[tuple[str, float, Hashable]]]


@dataclass(frozen=True, eq=False)
class ToyLanguage:
    """A probabilistic automaton whose state after a prefix is a function of the prefix, so that nothing is estimated.

    vocabulary   V words and marks; a token's id is its place here; END_OF_TEXT is the token 0
    probs        (S, V) float64, p(token | state), each row summing to 1; every document begins in state 0
    next_states  (S, V) int32, the state after that token, -1 where the token is impossible

    Build one with `toy_language`.
    """

    vocabulary: tuple[str, ...]
    probs: np.ndarray
    next_states: np.ndarray

    end_id = 0  # a constant of the class: without annotation it is no field

    @classmethod
    def from_rules(cls, rules: Rules) -> "ToyLanguage":
        """The language of some rules, which are taken as they are.

        rules   {state: [(word, weight, next state), ...]}; the first state opens a document, a word stands once in a
                state, weights are divided by their sum, and END_OF_TEXT, to which every state leads in the end, leads
                back to the first state
        return  the language; its vocabulary is END_OF_TEXT, then the words in the order of their code points
        """
        words = {word for options in rules.values() for word, _, _ in options}
        vocabulary = (END_OF_TEXT, *sorted(words - {END_OF_TEXT}))
        ids = {word: token_id for token_id, word in enumerate(vocabulary)}
        numbers = {state: number for number, state in enumerate(rules)}
        probs = np.zeros((len(rules), len(vocabulary)))
        next_states = np.full(probs.shape, -1, dtype=np.int32)
        for state, options in rules.items():
            total = fsum(weight for _, weight, _ in options)
            for word, weight, after in options:
                probs[numbers[state], ids[word]] = weight / total
                next_states[numbers[state], ids[word]] = numbers[after]
        probs.flags.writeable = next_states.flags.writeable = False  # one object is shared by all who ask for it
        return cls(vocabulary, probs, next_states)

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    # text and ids

    def encode(self, text: str) -> list[int]:
        """Ids of a text; `decode` gives it back letter by letter. Documents are set apart by END_OF_TEXT.

        ValueError: a word outside the vocabulary, or spaces that `decode` would not write.
        """
        pieces = _PIECE.findall(text)
        for position, piece in enumerate(pieces):
            if piece not in self._ids:
                raise ValueError(f"{piece!r} at position {position} is not among the {self.vocab_size} words")
        ids = [self._ids[piece] for piece in pieces]
        written = self.decode(ids)
        if written != text:
            at = next((i for i, (a, b) in enumerate(zip(written, text, strict=False)) if a != b), len(written))
            raise ValueError(
                f"the language would write {written[at:][:20]!r} where character {at} has {text[at:][:20]!r}"
            )
        return ids

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of ids (N,): one space between words, none before a mark or beside a break or the end of text.

        ValueError: an id outside [0, V).
        """
        pieces = [self.vocabulary[token_id] for token_id in self._checked(ids)]
        text, glued = [], True
        for piece in pieces:
            breaks = piece in (PARAGRAPH, END_OF_TEXT)
            text += [piece] if glued or breaks or piece in MARKS else [" ", piece]
            glued = breaks
        return "".join(text)

    # unlimited text

    def document(self, seed: int) -> str:
        """One document, without its end of text. A seed gives the same text on every platform and version of Python,
        whose `random.Random(seed).random()` is guaranteed."""
        return self.documents(1, seed)[0]

    def documents(self, n: int, seed: int) -> list[str]:
        """The first `n` documents of the stream that `ids` cuts. ValueError: n below 1."""
        require_whole(n=n)
        stream, texts = self._stream(seed), []
        for _ in range(n):
            ids: list[int] = []
            while (token_id := next(stream)) != self.end_id:
                ids.append(token_id)
            texts.append(self.decode(ids))
        return texts

    def ids(self, n_tokens: int, seed: int) -> np.ndarray:
        """(n_tokens,) int64: documents, closed by the end of text, the last may be cut. ValueError: n_tokens < 1."""
        require_whole(n_tokens=n_tokens)
        return np.fromiter(islice(self._stream(seed), n_tokens), dtype=np.int64, count=n_tokens)

    def _stream(self, seed: int) -> Iterator[int]:
        require_whole(at_least=0, seed=seed)
        generator, state = random.Random(int(seed)), 0
        while True:
            cumulative, tokens, after = self._draws[state]
            choice = bisect_right(cumulative, generator.random())
            yield tokens[choice]
            state = after[choice]

    # the true probabilities

    def log_probs(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(N,) float64: ln p of each token given all before it in `ids`, which begins where a document begins.

        To score a piece from the middle of a stream, score the stream and cut the result.
        ValueError: an id outside [0, V), or one that cannot follow.
        """
        checked = self._checked(ids)
        return np.log(self.probs[self._states(checked)[:-1], checked])

    # the drawn lines, exact

    def entropy_rate(self) -> float:
        """Expected loss of a perfect model in nats per token: a document's entropy over its mean length.

        Reached by a model that sees each document from its beginning; a shorter context can only do worse.
        Source: Shannon 1948, section 7.
        """
        return float(self._visits @ entropy(self.probs) / self._visits.sum())

    def bigram_entropy(self) -> float:
        """Expected loss in nats per token of the best predictor that sees one token, the one before."""
        states, tokens = self.probs.nonzero()
        arrivals = np.zeros(self.probs.T.shape)  # (V, S): how often a state is entered by each token
        shares = self._visits[states] * self.probs[states, tokens]
        np.add.at(arrivals, (tokens, self.next_states[states, tokens]), shares)
        pairs = arrivals @ self.probs / self._visits.sum()  # (V, V): of all neighbours in a stream
        return float(entropy(pairs.ravel()) - entropy(pairs.sum(1)))

    def unigram_entropy(self) -> float:
        """Expected loss in nats per token of the best predictor that sees nothing: it knows how frequent tokens are."""
        return float(entropy(self._visits @ self.probs / self._visits.sum()))

    # computed once

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: token_id for token_id, word in enumerate(self.vocabulary)}

    @cached_property
    def _visits(self) -> np.ndarray:
        """(S,) float64: how many tokens a document emits from each state on average; their sum is its mean length.

        They solve a linear equation: a document begins in state 0, and goes from state to state until it ends.
        """
        n_states, (states, tokens) = len(self.probs), self.probs.nonzero()
        states, tokens = states[tokens != self.end_id], tokens[tokens != self.end_id]
        to_and_from = self.next_states[states, tokens], states  # where several tokens lead, their shares are added up
        moves = csc_array((self.probs[states, tokens], to_and_from), shape=(n_states, n_states))
        return spsolve(eye_array(n_states, format="csc") - moves, np.eye(n_states, 1).ravel())

    @cached_property
    def _draws(self) -> list[tuple[list[float], list[int], list[int]]]:
        """Per state: cumulative probabilities (the last put to 1), the tokens, the states after them."""
        draws = []
        for row, after in zip(self.probs, self.next_states, strict=True):
            tokens = row.nonzero()[0]
            cumulative = list(accumulate(row[tokens].tolist()))
            draws.append(([*cumulative[:-1], 1.0], tokens.tolist(), after[tokens].tolist()))
        return draws

    def _checked(self, ids: Sequence[int] | np.ndarray) -> list[int]:
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(f"expected ids (N,) of an integer type, got {array.dtype} of shape {array.shape}")
        if array.size and not 0 <= array.min() <= array.max() < self.vocab_size:
            raise ValueError(f"ids must be in [0, {self.vocab_size}), got {array.min()} to {array.max()}")
        return array.tolist()

    def _states(self, ids: list[int]) -> list[int]:
        """The states before each token and after the last one: (N + 1)."""
        table, width, states, state = memoryview(self.next_states.ravel()), self.vocab_size, [0], 0
        for position, token_id in enumerate(ids):
            state = table[state * width + token_id]
            if state < 0:
                before = self.decode(ids[max(0, position - 5) : position])
                word = self.vocabulary[token_id]
                raise ValueError(f"the language cannot produce {word!r} at position {position}, after {before!r}")
            states.append(state)
        return states


def entropy(probs: np.ndarray) -> np.ndarray:
    """-sum p ln p over the last axis, in nats; 0 ln 0 counts as 0."""
    return -(probs * np.log(np.where(probs > 0, probs, 1.0))).sum(-1)
