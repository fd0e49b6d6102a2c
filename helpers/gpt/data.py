"""From documents to batches: a split by text, windows, and an order in which a run can go on. Notebook 03."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.gpt.config import IGNORED_TARGET, is_number, require_kind, require_whole

LONGEST_ROW = 2**20  # tokens: a longer one is a slip of the hand, and would be filled up in memory


class Batch(NamedTuple):
    """Sequences to train on or to score: token_ids (B, T) int64, targets (B, T) int64, -100 where none is scored."""

    token_ids: Tensor
    targets: Tensor


def split_by_text(
    documents: Sequence[str], validation_share: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Documents for training and for validation, each whole, in their order; equal documents stay on one side.

    validation_share  of the characters, in (0, 1): documents are drawn one after another, and each is held out if
                      that brings the share nearer; each side gets one at least
    seed              of the draws; the documents' order does not matter

    ValueError: a share outside (0, 1), or fewer than two different documents.
    """
    _check_share(validation_share)
    require_whole(at_least=0, seed=seed)
    require_kind(list | tuple, documents=documents)
    require_kind(str, **{f"document {i}": text for i, text in enumerate(documents)})
    different = sorted(set(documents))
    if len(different) < 2:
        raise ValueError(f"expected two different documents or more, got {len(different)}: use `cut` for one long text")
    random.Random(int(seed)).shuffle(different)
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
    require_kind(Tensor | np.ndarray, token_ids=token_ids)
    place = round(len(token_ids) * (1 - validation_share)) if token_ids.ndim == 1 else 0
    if not 0 < place < len(token_ids):
        raise ValueError(f"expected one list long enough for two parts, got shape {tuple(token_ids.shape)}")
    return token_ids[:place], token_ids[place:]


def join(documents: Iterable[Sequence[int]], end_of_text: int) -> Tensor:
    """The ids of all documents in one list (N,) int64, each followed by the id that says where it ends.

    ValueError: no document.
    """
    try:
        whole = torch.tensor(ids := [i for document in documents for i in (*document, end_of_text)])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected lists of token ids, got {documents!r:.60} ({error})") from error
    if not ids:
        raise ValueError("expected at least one document, got none")
    _check_list(whole)
    return whole.long()


class Windows:
    """Every window of `context_length` ids whose targets exist, `stride` apart: two views of one list, no copy.

    token_ids       (N,) integers: a tensor, or an array, memory-mapped from a file or not
    context_length  T, inputs per window; its targets are the same ids one position on
    stride          from the start of a window to the start of the next; None means T: every id is a target once, but
                    for the first and the last few, which fill no window. A smaller one repeats targets, a larger one
                    leaves ids out
    offset          where the first window starts

    inputs, targets  (n, T) views, where n = len(windows)
    rows(which)      (inputs, targets) of some, each (len(which), T) int64 in memory of their own
    n_targets        ids that are the target of at least one window

    ValueError: not a single list of integers, a list that is too short for one window, sizes below 1.
    Source: Raschka, Build a Large Language Model (From Scratch), section 2.6.
    """

    def __init__(
        self, token_ids: Tensor | np.ndarray, context_length: int, stride: int | None = None, offset: int = 0
    ) -> None:
        stride = context_length if stride is None else stride
        require_whole(context_length=context_length, stride=stride)
        require_whole(at_least=0, offset=offset)
        _check_list(token_ids)
        if len(token_ids) - offset < context_length + 1:
            raise ValueError(
                f"a window of {context_length} inputs and their targets needs {context_length + 1} ids, got "
                f"{max(len(token_ids) - offset, 0)} from position {offset}: take a shorter context or a longer text"
            )
        self.token_ids, self.context_length, self.stride, self.offset = token_ids, context_length, stride, offset
        width = context_length + 1  # the inputs of a window, and one id more for its last target
        if isinstance(token_ids, Tensor):
            self._windows = token_ids[offset:].unfold(0, width, stride)  # (n, T + 1) view
        else:
            self._windows = np.lib.stride_tricks.sliding_window_view(token_ids[offset:], width)[::stride]

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def inputs(self) -> Tensor | np.ndarray:
        return self._windows[:, :-1]

    @property
    def targets(self) -> Tensor | np.ndarray:
        return self._windows[:, 1:]

    @property
    def n_targets(self) -> int:
        return (len(self) - 1) * min(self.stride, self.context_length) + self.context_length

    def rows(self, which: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        which = torch.as_tensor(which, dtype=torch.int64)
        windows = _as_int64(self._windows[which if isinstance(self._windows, Tensor) else which.numpy()])
        return windows[:, :-1].clone(), windows[:, 1:].clone()  # a target may be masked: the inputs must not notice


@dataclass(frozen=True, eq=False)  # two lists of ids are not compared by ==
class Batches:
    """The batches of a training run, epoch after epoch. `batches[i]` is batch i of the run, however large i is.

    Batch i depends on the seed and on i alone, so that a run goes on at any batch. Each epoch draws an order of its
    own. len(batches) is that of an epoch, and so is `n_windows`; iteration is over the first epoch.

    token_ids, context_length, stride  of the `Windows`
    batch_size      B
    shuffle         False keeps the windows in reading order
    drop_last       False gives an epoch's last batch the windows that are left, which may be fewer than B
    shift           each epoch draws where its first window starts, in [0, stride), so that windows do not repeat from
                    epoch to epoch; every epoch has as many windows as fit after the last of these positions

    ValueError: too little text for one batch, sizes below 1, or a seed below 0.
    """

    token_ids: Tensor | np.ndarray
    context_length: int
    batch_size: int
    stride: int | None = None
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    shift: bool = False
    _drawn: dict[int, tuple[Windows, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        require_whole(batch_size=self.batch_size)
        require_whole(at_least=0, seed=self.seed)
        if len(self) < 1:
            raise ValueError(
                f"{self.n_windows} windows of {self.context_length} ids do not fill a batch of {self.batch_size}: "
                "take fewer sequences, a shorter context, or drop_last=False"
            )

    @cached_property
    def n_windows(self) -> int:
        last_offset = self._stride - 1 if self.shift else 0
        return len(Windows(self.token_ids, self.context_length, self.stride, last_offset))

    @property
    def _stride(self) -> int:
        return self.context_length if self.stride is None else self.stride

    def __len__(self) -> int:
        full, rest = divmod(self.n_windows, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __getitem__(self, i: int) -> Batch:
        if i < 0:
            raise IndexError(f"batches are counted from 0, got {i}")
        epoch, place = divmod(i, len(self))
        if epoch not in self._drawn:  # the last order drawn is kept, for speed alone
            self._drawn.clear()
            self._drawn[epoch] = self._draw(epoch)
        windows, order = self._drawn[epoch]
        return Batch(*windows.rows(order[place * self.batch_size : (place + 1) * self.batch_size]))

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def _draw(self, epoch: int) -> tuple[Windows, Tensor]:
        """The windows of an epoch and the order in which they come."""
        # mixed, because seed + epoch would give run 1 the orders of run 0, an epoch later
        mixed = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed) >> 1)  # which takes 63 bits
        offset = int(torch.randint(self._stride, (), generator=generator)) if self.shift else 0
        windows = Windows(self.token_ids, self.context_length, self.stride, offset)
        n = self.n_windows  # a small offset may leave room for one more
        return windows, torch.randperm(n, generator=generator) if self.shuffle else torch.arange(n)


def scoring_batches(
    token_ids: Tensor | np.ndarray, context_length: int, batch_size: int = 8, stride: int | None = None
) -> Iterator[Batch]:
    """Batches in which every id but the first is a target exactly once: what an honest mean is taken over.

    token_ids, context_length  of the windows, (N,) integers and T
    batch_size  B; the last batch has the windows that are left
    stride      None means T: neighbouring windows. A smaller one scores in each window only the targets that are new
                in it, each predicted from at least T - stride + 1 ids if there are so many; about T / stride the cost
    yields      Batch on the CPU; a window that is shorter than T is filled up with id 0 and the target -100

    Of the ids 10 to 19, with T = 4, windows start at 10, 14 and 18, a short one. With stride 2 they start at 10, 12, 14
    and 15, and score 4, 2, 2 and 1 targets.

    ValueError: not one list of at least two integers, sizes below 1, T above LONGEST_ROW, or a stride above T, which
    would leave ids out.
    """
    T, stride = context_length, context_length if stride is None else stride
    _check_list(token_ids)
    if len(token_ids) < 2:
        raise ValueError(f"scoring needs one list of at least 2 ids, got shape {tuple(token_ids.shape)}")
    require_whole(batch_size=batch_size, stride=stride)
    require_whole(at_most=LONGEST_ROW, context_length=T)
    if stride > T:
        raise ValueError(f"stride must be at most context_length, got {stride} and {T}")
    last = len(token_ids) - 1  # the last id is no input
    ends = [*range(min(T, last), last, stride), last]  # the position of the last target of each window
    spans = list(pairwise([0, *ends]))  # of each window's new targets: from after the first position to the second
    for first in range(0, len(spans), batch_size):
        some = spans[first : first + batch_size]
        inputs = torch.zeros(len(some), T, dtype=torch.int64)
        targets = torch.full((len(some), T), IGNORED_TARGET)
        for row, (before, end) in enumerate(some):
            start = before if stride == T else max(end - T, 0)  # at stride T none reads back: the last is short
            ids = _as_int64(token_ids[start : end + 1])
            inputs[row, : end - start] = ids[:-1]
            targets[row, before - start : end - start] = ids[1 + before - start :]
        yield Batch(inputs, targets)


def _check_share(share: float) -> None:
    if not is_number(share) or not 0 < share < 1:
        raise ValueError(f"validation_share must be in (0, 1), got {share!r}")


def _check_list(token_ids: Tensor | np.ndarray) -> None:
    """ValueError: not one list (N,) of integers, as a tensor or an array."""
    require_kind(Tensor | np.ndarray, token_ids=token_ids)
    if isinstance(token_ids, Tensor):
        other = token_ids.is_floating_point() or token_ids.is_complex() or token_ids.dtype == torch.bool
    else:
        other = token_ids.dtype.kind not in "iu"
    if token_ids.ndim != 1 or other:
        raise ValueError(f"expected one list (N,) of integers, got {tuple(token_ids.shape)} of {token_ids.dtype}")


def _as_int64(token_ids: Tensor | np.ndarray) -> Tensor:
    """The same ids as an int64 tensor, which is what an embedding takes."""
    return token_ids.long() if isinstance(token_ids, Tensor) else torch.from_numpy(token_ids.astype(np.int64))
