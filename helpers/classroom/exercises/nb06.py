"""The checks of notebook 06: bytes of a checkpoint, the next batch, an atomic writer, checksums, resuming, a thread."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock, patch

import torch

from helpers.classroom.exercises.grader import Mistake, ask, expect, plain, refused, register, typed

OLD, BLOCKS = b"the old checkpoint, good to the last byte", (b"the new one: ", b"weights, ", b"moments, ", b"the rest")
NAME = "state.bin"
PATIENCE_S = 1.0  # how long a writer waits to be let go; who runs it in the foreground meets it
_OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
}


@register("c1-bytes")
def checkpoint_bytes(answer: Callable[[int, str], float]) -> None:
    """Let a real optimizer of torch make one step on that many numbers, and count the tensors that it then holds."""
    for n_params, optimizer in ((60, "AdamW"), (1003, "AdamW"), (60, "SGD"), (700, "SGD with momentum")):
        weights = torch.nn.Parameter(torch.zeros(n_params))
        weights.grad = torch.ones(n_params)
        made = _OPTIMIZERS[optimizer]([weights])
        made.step()
        held = [weights, *made.state[weights].values()]  # AdamW's count of steps is a tensor too
        n_bytes = sum(x.nbytes for x in held if isinstance(x, torch.Tensor) and x.numel() > 1)
        case = f"{n_params:,} parameters, {optimizer}"
        thought = "How many numbers does it remember for each weight, and how many bytes has a float32?"
        got = ask(answer, case, n_params, optimizer)
        got.number(n_bytes, thought, unit=" bytes", digits=",.0f", rel_tol=0)


@register("c1-next-batch")
def next_batch(answer: Callable[[int, int, int, int], tuple[int, int]]) -> None:
    """All batches of the run in their order: the batches done are counted off."""
    cases = [(0, 4, 8, 5), (64, 4, 8, 5), (160, 4, 8, 5), (7 * 96, 8, 12, 3), (11 * 30, 3, 10, 11), (13 * 14, 2, 7, 1)]
    for n_tokens, batch_size, context_length, n_batches in cases:
        batches = list(product(range(20), range(n_batches)))
        epoch, index = batches[n_tokens // (batch_size * context_length)]
        case = f"{n_tokens} tokens seen in batches of {batch_size} sequences of {context_length}, {n_batches} batches "
        case += "an epoch"
        got = ask(answer, case, n_tokens, batch_size, context_length, n_batches).value
        if plain(got) != [epoch, index]:
            raise Mistake(
                f"{case}: expected {(epoch, index)} as (epoch, position), both counted from 0, got {typed(got)}. "
                "How many batches are done, and is the next one still in the same epoch?"
            )


@register("c2-atomic-write")
def atomic_write(answer: Callable[[Path, Iterator[bytes]], Any]) -> None:
    """Watch the folder from inside the blocks, while they are being written, and listen to fsync and rename."""
    for standing in (None, OLD):
        with _target(standing) as path, _calls_noted() as calls:
            answer(path, _watched(path, standing))
            _require_whole(path, calls)
        with _target(standing) as path:
            try:
                answer(path, _breaking())
                raise Mistake("the power failed in the middle and your function returned as if nothing had happened")
            except InterruptedError:
                pass
            if (found := _content(path)) != standing:
                raise Mistake(f"the power failed in the middle: the name should hold {standing!r}, it holds {found!r}")
            _require_alone(path, "after an error in the middle")


@contextmanager
def _target(standing: bytes | None) -> Iterator[Path]:
    """A name in a folder of its own, and under it what stands there so far."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        if standing is not None:
            path.write_bytes(standing)
        yield path


def _require_whole(path: Path, calls: list[int | str]) -> None:
    if (written := _content(path)) != b"".join(BLOCKS):
        raise Mistake(f"four blocks of {sum(map(len, BLOCKS))} bytes in all: the file holds {written!r}")
    _require_alone(path, "after the last block")
    if "rename" not in calls:
        raise Mistake("the file came under its name without os.replace, the one step that is whole or not at all")
    before = calls[: calls.index("rename")]
    if sum(map(len, BLOCKS)) not in before:
        raise Mistake(
            "before the rename the disk must have every byte: expected os.fsync of the whole temporary file, "
            f"got {before or 'no fsync'} (bytes that had left Python at each fsync). "
            "What does file.flush() do that os.fsync does not, and the other way round?"
        )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _watched(path: Path, standing: bytes | None) -> Iterator[bytes]:
    for i, block in enumerate(BLOCKS):
        yield block
        if (found := _content(path)) != standing:
            raise Mistake(
                f"after block {i + 1} of {len(BLOCKS)} a reader finds {found!r} under the name, and should still find "
                f"{standing!r}. Under which name do you write?"
            )
        if len(os.listdir(path.parent)) == (standing is not None):
            raise Mistake(
                "while it is written there is no temporary file beside the target. A rename is one step only within "
                "one drive: put it into the same folder (and do not collect the blocks in memory)"
            )


def _breaking() -> Iterator[bytes]:
    yield from BLOCKS[:2]
    raise InterruptedError("the power failed")


@contextmanager
def _calls_noted() -> Iterator[list]:
    """The list of each fsync from now on, by the bytes that the file then has, and of each rename."""
    calls: list[int | str] = []

    def fsync(file: Any) -> None:
        calls.append(os.fstat(file if isinstance(file, int) else file.fileno()).st_size)  # nothing waits for the disk

    def rename(*_names: Any, **_options: Any) -> Any:
        calls.append("rename")
        return DEFAULT  # and then it is done

    watched = {"fsync": fsync, "replace": rename, "rename": rename}
    with patch.multiple(os, **{name: Mock(wraps=getattr(os, name), side_effect=f) for name, f in watched.items()}):
        yield calls


def _require_alone(path: Path, when: str) -> None:
    if others := set(os.listdir(path.parent)) - {path.name}:
        raise Mistake(f"{when} {len(others)} temporary file is still there. Who removes it?")


@register("c2-check-sums")
def wrong_files(answer: Callable[[Path], list[str]]) -> None:
    """Folders of which it is known beforehand which files hold something else than when the checksums were made."""
    # as many bytes in both files, and larger than a block of any size that one is tempted to read
    model, moments = b"w" * 200_000, b"m" * 200_000
    whole = {"model.bin": model, "optimizer.bin": moments, "rest.json": b'{"step": 30}\n'}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in whole.items())
    one_bit = model[:-1] + b"v"
    cases: dict[str, dict[str, bytes | None]] = {  # what each altered file then holds; None: it was deleted
        "nothing was touched": {},
        "one bit flipped": {"model.bin": one_bit},
        "the end cut off": {"rest.json": b'{"step": 30'},
        "a file deleted": {"optimizer.bin": None},
        "two files swapped": {"model.bin": moments, "optimizer.bin": model},
        "one deleted, one altered": {"model.bin": one_bit, "rest.json": None},
    }
    for case, damage in cases.items():
        expected = list(damage)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "SHA256SUMS").write_text(sums, encoding="ascii")
            for file, content in (whole | damage).items():
                if content is not None:
                    (folder / file).write_bytes(content)
            try:
                got = answer(folder)
            except FileNotFoundError:
                raise Mistake(f"{case}: a missing file is a finding to report, not a crash") from None
        found = plain(list(got) if isinstance(got, set | frozenset) else got)
        if not isinstance(found, list) or sorted(map(str, found)) != expected:
            raise Mistake(
                f"{case}: expected the names {expected}, got {typed(got).replace(name, 'folder')}. Compare the "
                "checksum of every byte of each file with its line"
            )


@register("c2-go-on-from")
def go_on_from(answer: Callable[[list[tuple[str, int, str | None]]], tuple[str, int] | None]) -> None:
    """A table worked out by hand; nothing is computed."""
    cases = [
        ([], None),
        ([("out", 20, None)], ("out", 20)),
        ([("out", 10, None), ("out", 20, None), ("out", 30, "truncated")], ("out", 20)),
        ([("out", 30, "truncated"), ("drive", 20, None), ("out", 10, None)], ("drive", 20)),
        ([("drive", 40, None), ("out", 40, None)], ("out", 40)),
        ([("drive", 100, None), ("out", 90, None), ("out", 100, "one bit flipped")], ("drive", 100)),
        ([("out", 9, None), ("out", 10, None)], ("out", 10)),
    ]
    for candidates, expected in cases:
        got = answer(list(candidates))
        pair = got is None or (isinstance(plain(got), list) and len(got) == 2)
        expect(pair, f"{candidates}: expected a pair (folder, step) or None, got {typed(got)}")
        if plain(got) != plain(expected):
            raise Mistake(
                f"{candidates}: expected {expected}, got {got}. The newest good one; of two equally new ones that in "
                "'out', which is nearer; None only where there is nothing at all"
            )
    candidates = [("out", 20, "truncated"), ("drive", 10, "a pickle")]
    thought = "To begin anew over a run that somebody may still rescue is the one thing that a program must not decide"
    refusal = refused(answer, str(candidates), f"{thought} alone", list(candidates))
    told = all(reason in refusal for _, _, reason in candidates)
    expect(told, f"{candidates}: you refuse, and the reasons should be read in it: got {refusal}")


@register("c2-background")
def save_in_background(answer: Callable[[dict[str, torch.Tensor], Callable], Any]) -> None:
    """A writer that waits until it is let go: meanwhile the tensors change, and the caller must already be free."""
    tied = torch.arange(6.0)
    state = {"embedding": tied, "norm": torch.ones(2), "head": tied}
    wanted = {"embedding": 15.0, "norm": 2.0, "head": 15.0}
    let_go, waited, shared = threading.Event(), [], []

    def write(held: dict[str, torch.Tensor]) -> dict[str, float]:
        waited.append(not let_go.wait(PATIENCE_S))
        shared.append(held["embedding"] is held["head"] or held["embedding"].data_ptr() == held["head"].data_ptr())
        return {name: float(tensor.sum()) for name, tensor in held.items()}

    saving = ask(answer, "a writer that takes long", state, write).value
    expect(not any(waited), "a writer that takes long: your function returned only at its end. Start a thread")
    has_result = hasattr(saving, "result")
    expect(has_result, f"expected an object with a method result(), got {type(saving).__name__}")
    for tensor in (tied, state["norm"]):
        tensor.add_(100)
    let_go.set()
    got = _result_of(saving)
    if got != wanted:
        raise Mistake(
            f"the tensors were changed in place after your call: expected their sums {wanted} from before, result() "
            f"gave {got}. Whose tensors does the thread read, and when are they copied?"
        )
    two = "embedding and head shared one tensor, and are two tensors in what was written: twice the bytes"
    expect(shared[0], two)

    def fail(held: dict[str, torch.Tensor]) -> None:
        raise OSError("No space left on device")

    try:
        came = repr(_result_of(ask(answer, "a full disk", {"norm": torch.ones(2)}, fail).value))
    except OSError:
        return
    raise Mistake(f"a full disk: expected write's OSError from result(), got {came}. Where do a thread's errors go?")


def _result_of(saving: Any) -> Any:
    """What result() gives or raises, waited for in a thread, because it may never return."""
    given = Future()

    def ask_for_it() -> None:
        try:
            given.set_result(saving.result())
        except BaseException as error:  # raised below
            given.set_exception(error)

    threading.Thread(target=ask_for_it, daemon=True).start()
    done = wait([given], 5 * PATIENCE_S).done
    expect(done, "result() never returned: where do a thread's errors go?")
    return given.result()
