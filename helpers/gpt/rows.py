"""Documents of all lengths as rows of one length: padded, truncated, or packed end to end. Notebook 08."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.gpt.config import IGNORED_TARGET

WAYS = ("pad", "truncate", "pack")
NO_DOCUMENT = -1  # the segment of padding


class Batch(NamedTuple):
    """Sequences to train on or to score: token_ids (B, T) int64, targets (B, T) int64, -100 where none is scored."""

    token_ids: Tensor
    targets: Tensor


class SegmentedBatch(NamedTuple):
    """A `Batch` that also says which document each token belongs to: (B, T) int64 each."""

    token_ids: Tensor
    targets: Tensor
    segments: Tensor


@dataclass(frozen=True, eq=False)  # tensors are not compared by ==
class Rows:
    """Documents laid out in N rows of T tokens, made by `rows_of`.

    token_ids  (N, T) int64
    targets    (N, T) int64: the id that comes next in the document (in the stream, where rows are packed); -100 at
               padding, where none is scored
    segments   (N, T) int64: the number of the document that the token at this position belongs to; -1 at padding
    n_dropped  ids that stand in no row, neither as token nor as target

    len(rows)  N
    """

    token_ids: Tensor
    targets: Tensor
    segments: Tensor
    n_dropped: int

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def n_targets(self) -> int:
        """Targets that are scored."""
        return int((self.targets != IGNORED_TARGET).sum())

    @property
    def useful_share(self) -> float:
        """The non-padding fraction: scored targets of all N * T, in (0, 1]."""
        return self.n_targets / self.targets.numel()

    def batches(
        self, batch_size: int, *, segments: bool = False, seed: int | None = None
    ) -> list[Batch] | list[SegmentedBatch]:
        """The rows in batches, for a Trainer or `evaluate`: every row once, the last batch has the rest.

        segments  True adds the documents' numbers, with which the model attends inside a document only
        seed      draws one order of the rows; None leaves theirs. A Trainer goes through it again in every epoch

        ValueError: batch_size below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        columns = (self.token_ids, self.targets, self.segments)[: 3 if segments else 2]
        if seed is not None:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
            columns = tuple(column[order] for column in columns)
        kind = SegmentedBatch if segments else Batch
        return [kind(*parts) for parts in zip(*(column.split(batch_size) for column in columns), strict=True)]


def rows_of(
    documents: Sequence[Sequence[int]], context_length: int, how: str, *, end_id: int, pad_id: int | None = None
) -> Rows:
    """Lay out documents in rows of `context_length` tokens; each is followed by `end_id`, which is a target too.

    documents       each a list, array or tensor of ids
    context_length  T
    how             "truncate"  a row for each document, its first T + 1 ids; what is longer is thrown away
                    "pad"       as many rows as a document needs: every id but its first is a target once
                    "pack"      all documents in one stream, cut into full rows: no padding. Every id but the stream's
                                first is a target once; the last ids, fewer than T, are thrown away. The first id of a
                                document is a target too, predicted after the `end_id` of the one before
    pad_id          fills a row that is too short; None takes `end_id`. It is scored in no case
    return          Rows; they take 24 bytes a position

    ValueError: no document, an empty one, ids that are no integers of at least 0, context_length below 1, an unknown
    way, or too little text for one packed row.
    Source: Raffel et al. 2020 (T5), section 3.1.2, and Krell et al. 2021, "Efficient Sequence Packing without
    Cross-contamination", for packing.
    """
    pad_id = end_id if pad_id is None else pad_id
    if how not in WAYS:
        raise ValueError(f"how must be one of {', '.join(WAYS)}, got {how!r}")
    if context_length < 1 or min(end_id, pad_id) < 0:
        got = f"got {context_length}, {end_id} and {pad_id}"
        raise ValueError(f"expected context_length of at least 1, end_id and pad_id of at least 0, {got}")
    if not len(documents):
        raise ValueError("expected at least one document, got none")
    texts = [_with_end(number, document, end_id) for number, document in enumerate(documents)]
    if how == "pack":
        return _packed(texts, context_length)
    return _padded(texts, context_length, pad_id, truncate=how == "truncate")


def _with_end(number: int, document: Sequence[int], end_id: int) -> np.ndarray:
    ids = np.asarray(document)
    if ids.ndim != 1 or not len(ids):
        raise ValueError(f"document {number}: expected a list of at least one id, got shape {ids.shape}: leave it out")
    if ids.dtype.kind not in "iu" or ids.min() < 0:
        smallest = min(ids.tolist())
        raise ValueError(f"document {number}: ids must be integers of at least 0, got {smallest!r} of {ids.dtype}")
    return np.append(ids.astype(np.int64), end_id)


def _packed(texts: list[np.ndarray], T: int) -> Rows:
    stream = torch.from_numpy(np.concatenate(texts))  # (all ids,)
    n_rows = (len(stream) - 1) // T  # the last row's last target needs an id of its own
    if n_rows < 1:
        raise ValueError(
            f"a packed row of {T} tokens and their targets needs {T + 1} ids, the documents have {len(stream)} with "
            "their ends: take a shorter context or more documents, or pad"
        )
    used = n_rows * T
    segments = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor([len(text) for text in texts]))
    targets = stream[1 : used + 1].clone()  # no memory shared: a target may be masked later
    columns = [x[:used].view(n_rows, T) for x in (stream, targets, segments)]
    return Rows(*columns, n_dropped=len(stream) - used - 1)


def _padded(texts: list[np.ndarray], T: int, pad_id: int, *, truncate: bool) -> Rows:
    n_targets = [min(len(text) - 1, T) if truncate else len(text) - 1 for text in texts]
    spans = [(i, start, min(start + T, n)) for i, n in enumerate(n_targets) for start in range(0, n, T)]
    fillers = (pad_id, IGNORED_TARGET, NO_DOCUMENT)
    token_ids, targets, segments = (np.full((len(spans), T), filler, dtype=np.int64) for filler in fillers)
    for row, (i, start, end) in enumerate(spans):
        token_ids[row, : end - start] = texts[i][start:end]
        targets[row, : end - start] = texts[i][start + 1 : end + 1]
        segments[row, : end - start] = i
    n_dropped = sum(len(text) - 1 - n for text, n in zip(texts, n_targets, strict=True))
    return Rows(*map(torch.from_numpy, (token_ids, targets, segments)), n_dropped=n_dropped)
