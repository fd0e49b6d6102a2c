"""Documents of all lengths as rows of one length: padded, truncated, or packed end to end. Notebook 08."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from helpers.gpt import IGNORED_TARGET, Batch, data, require_kind, require_one_of, require_whole

WAYS = ("pad", "truncate", "pack")
NO_DOCUMENT = -1  # the segment of padding


@dataclass(frozen=True, eq=False)  # tensors are not compared by ==
class Rows:
    """Documents laid out in N rows of T tokens, made by `rows_of`; len(rows) is N."""

    token_ids: Tensor  # (N, T) int64
    targets: Tensor  # (N, T) int64: the next id of the document, or of the packed stream; -100 at padding
    segments: Tensor  # (N, T) int64: the number of the document that the token belongs to; -1 at padding
    n_dropped: int  # ids that stand in no row, neither as token nor as target

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def n_targets(self) -> int:
        """Targets that are scored."""
        return int((self.targets != IGNORED_TARGET).sum())

    @property
    def non_padding_fraction(self) -> float:
        """Scored targets over all N * T positions, in (0, 1]."""
        return self.n_targets / self.targets.numel()

    def batches(self, batch_size: int, *, seed: int | None = None) -> list[Batch]:
        """The rows in batches, for a Trainer or `evaluate`: every row once, the last batch has the rest.

        seed  draws one order of the rows, the same in every epoch; None leaves theirs

        ValueError: batch_size below 1, or a seed below 0.
        """
        require_whole(batch_size=batch_size)
        order = torch.arange(len(self))
        if seed is not None:
            require_whole(at_least=0, seed=seed)
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(int(seed)))
        return [Batch(self.token_ids[some], self.targets[some]) for some in order.split(batch_size)]


def rows_of(
    documents: Sequence[Sequence[int]], context_length: int, how: str, *, end_id: int, pad_id: int | None = None
) -> Rows:
    """Lay out documents in rows of `context_length` tokens; each is followed by `end_id`, which is a target too.

    documents       each a list, array or tensor of ids
    context_length  T, at most data.LONGEST_ROW
    how             "truncate"  a row for each document, its first T + 1 ids; what is longer is thrown away
                    "pad"       as many rows as a document needs: every id but its first is a target once
                    "pack"      all documents in one stream, cut into full rows: every id but the stream's first is a
                                target once, and the last ids, fewer than T, are thrown away
    pad_id          fills a row that is too short, and is never scored; None takes `end_id`

    ValueError: no document, an empty one, ids or sizes out of range, an unknown way, too little text for a packed row.
    Source: Raffel et al. 2020 (T5), section 3.1.2, and Krell et al. 2021, "Efficient Sequence Packing without
    Cross-contamination", for packing.
    """
    pad_id = end_id if pad_id is None else pad_id
    require_one_of(WAYS, how=how)
    require_kind(Sized, documents=documents)
    require_whole(at_most=data.LONGEST_ROW, context_length=context_length)
    require_whole(at_least=0, end_id=end_id, pad_id=pad_id)
    context_length, end_id, pad_id = int(context_length), int(end_id), int(pad_id)  # numpy's would overflow
    if not len(documents):
        raise ValueError("expected at least one document, got none")
    texts = [_with_end(number, document, end_id) for number, document in enumerate(documents)]
    if how == "pack":
        return _packed(texts, context_length)
    return _padded(texts, context_length, pad_id, truncate=how == "truncate")


def _with_end(number: int, document: Sequence[int], end_id: int) -> np.ndarray:
    ids = np.asarray(document.tolist() if isinstance(document, Tensor) else document)
    if ids.ndim != 1 or not len(ids):
        raise ValueError(f"document {number}: expected a list of at least one id, got shape {ids.shape}: leave it out")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"document {number}: ids must be integers, got {ids.tolist()[0]!r:.60} of {ids.dtype}")
    if ids.min() < 0 or ids.max() > np.iinfo(np.int64).max:
        raise ValueError(f"document {number}: ids must be in [0, 2^63), got {ids.min()} to {ids.max()}")
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
