"""Which texts train and which judge: whole documents, before any window is cut."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def split_by_text(
    documents: Sequence[str], validation_share: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Documents for training and for validation, each whole, in their order; equal documents stay on one side.

    validation_share  of the characters, in (0, 1). Documents are gone through in an order that is drawn, and held out
                      as long as that brings the share nearer; each side gets one at least
    seed              the same seed chooses the same documents, in whatever order they come

    ValueError: a share outside (0, 1), or fewer than two different documents.
    """
    _check_share(validation_share)
    different = sorted(set(documents))
    if len(different) < 2:
        raise ValueError(
            f"a split by text needs at least two different documents, got {len(different)}: "
            "cut one long text in two places instead, with `cut`"
        )
    random.Random(seed).shuffle(different)
    n_characters = {text: len(text) * n for text, n in Counter(documents).items()}
    wanted = validation_share * sum(n_characters.values())
    held_out: set[str] = set()
    size = 0
    for text in different[:-1]:
        if abs(size + n_characters[text] - wanted) < abs(size - wanted):
            held_out.add(text)
            size += n_characters[text]
    if not held_out:  # every document is too large for the share
        held_out.add(min(different, key=n_characters.__getitem__))
    return [d for d in documents if d not in held_out], [d for d in documents if d in held_out]


def cut(token_ids: Tensor, validation_share: float = 0.1) -> tuple[Tensor, Tensor]:
    """One long text cut once: its beginning for training, its end for validation; two views, no id in both.

    ValueError: a share outside (0, 1), not a single list, or a part without an id.
    """
    _check_share(validation_share)
    place = round(len(token_ids) * (1 - validation_share)) if token_ids.ndim == 1 else 0
    if not 0 < place < len(token_ids):
        raise ValueError(f"expected one list long enough for two parts, got shape {tuple(token_ids.shape)}")
    return token_ids[:place], token_ids[place:]


def join(documents: Iterable[Sequence[int]], end_of_text: int) -> Tensor:
    """The ids of all documents in one list (N,) int64, each followed by the id that says where it ends.

    ValueError: no document.
    """
    ids = [token_id for document in documents for token_id in (*document, end_of_text)]
    if not ids:
        raise ValueError("expected at least one document, got none")
    return torch.tensor(ids, dtype=torch.int64)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"validation_share must be in (0, 1), got {share}")
