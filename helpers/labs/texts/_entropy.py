"""Exact expectations of a toy language: how often each state is visited, and the entropies that follow from it."""

from __future__ import annotations

from math import fsum

import numpy as np


def expected_visits(probs: np.ndarray, next_states: np.ndarray, end_id: int) -> np.ndarray:
    """How many tokens a document emits from each state on average, by eliminating one state after the other.

    probs        (S, V) float64, p(token | state); state 0 opens a document
    next_states  (S, V) int, the state after that token; read where probs > 0
    end_id       the token that closes a document; from every state it must be possible to reach it
    return       (S,) float64; its sum is the mean length of a document in tokens, the end of text included

    The visits n solve n = e_0 + n P, with P the moves that do not end the document. Every state's own row is sparse, so
    that the elimination stays cheap, and no difference is taken, so that no digit is lost.
    Source: Grassmann, Taksar & Heyman 1985, Regenerative analysis and steady state distributions for Markov chains.
    """
    moves, leave = _moves_between_states(probs, next_states, end_id)
    callers: list[set[int]] = [set() for _ in moves]
    for state, row in enumerate(moves):
        for target in row:
            callers[target].add(state)
    entries: list[list[tuple[int, float]]] = [[] for _ in moves]
    for gone in range(len(moves) - 1, 0, -1):
        moves[gone].pop(gone, None)
        callers[gone].discard(gone)
        row = moves[gone]
        out = leave[gone] + fsum(row.values())
        for target in row:
            callers[target].discard(gone)
        for caller in sorted(callers[gone]):
            share = moves[caller].pop(gone) / out
            entries[gone].append((caller, share))
            leave[caller] += share * leave[gone]
            for target, p in row.items():
                moves[caller][target] = moves[caller].get(target, 0.0) + share * p
                callers[target].add(caller)
    visits = [1.0 / leave[0]]
    for state in range(1, len(moves)):
        visits.append(fsum(visits[caller] * share for caller, share in entries[state]))
    return np.array(visits)


def _moves_between_states(
    probs: np.ndarray, next_states: np.ndarray, end_id: int
) -> tuple[list[dict[int, float]], list[float]]:
    """Per state: {next state: probability} without the end of text, and the probability of the end of text."""
    moves: list[dict[int, float]] = [{} for _ in probs]
    for state, token in zip(*(axis.tolist() for axis in probs.nonzero()), strict=True):
        if token != end_id:
            target = int(next_states[state, token])
            moves[state][target] = moves[state].get(target, 0.0) + float(probs[state, token])
    return moves, probs[:, end_id].tolist()


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
