"""Exact expectations of a toy language: how often each state is visited, and the entropies that follow from it."""

from __future__ import annotations

import numpy as np

NEGLIGIBLE = 1e-17  # share of the visits so far: adding less changes no digit of a float64


def expected_visits(probs: np.ndarray, next_states: np.ndarray, end_id: int) -> np.ndarray:
    """How many tokens a document emits from each state on average.

    probs        (S, V) float64, p(token | state); state 0 opens a document
    next_states  (S, V) int, the state after that token; read where probs > 0
    end_id       the token that closes a document; from every state it must be possible to reach it
    return       (S,) float64; its sum is the mean length of a document in tokens, the end of text included

    All documents are written at once, one token a step: `now` holds the share of them that stands in each state. Shares
    only shrink as documents end, and what is added up is positive, so that no digit is lost.
    """
    states, tokens = probs.nonzero()
    goes_on = tokens != end_id
    states, tokens = states[goes_on], tokens[goes_on]
    moves, where = np.unique(states * len(probs) + next_states[states, tokens], return_inverse=True)
    before, after = np.divmod(moves, len(probs))
    p = np.bincount(where, probs[states, tokens])  # from a state to the next one, by whichever token
    now, visits = np.zeros(len(probs)), np.zeros(len(probs))
    now[0] = 1.0
    while now.sum() > NEGLIGIBLE * visits.sum():
        visits += now
        now = np.bincount(after, now[before] * p, minlength=len(probs))
    return visits


def entropy(probs: np.ndarray) -> np.ndarray:
    """-sum p ln p over the last axis, in nats; 0 ln 0 counts as 0."""
    return -(probs * np.log(np.where(probs > 0, probs, 1.0))).sum(-1)


def pair_shares(probs: np.ndarray, next_states: np.ndarray, visits: np.ndarray) -> np.ndarray:
    """How often each pair of neighbouring tokens stands in an endless stream of documents.

    probs, next_states  as for `expected_visits`; the state after the end of text is 0
    visits              (S,) from `expected_visits`
    return              (V, V) float64, summing to 1: row the first token of the pair, column the second
    """
    n_states, vocab_size = probs.shape
    states, tokens = probs.nonzero()
    arrivals = np.zeros((vocab_size, n_states))  # how often a state is entered by each token
    np.add.at(arrivals, (tokens, next_states[states, tokens]), visits[states] * probs[states, tokens])
    return arrivals @ probs / visits.sum()
