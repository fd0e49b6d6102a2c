"""The checks of notebook 06: the solution in the notebook passes (test_notebooks), planted mistakes do not."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from helpers.classroom import verdict
from tests import exercises


def write_beside(path, blocks, *, flush=True, sync=True, clean=True, swallow=False, folder=None, rename=Path.replace):
    """An atomic writer with its virtues as switches."""
    beside = Path(folder or path.parent) / "unfinished"
    try:
        with open(beside, "wb") as file:
            for block in blocks:
                file.write(block)
            if flush:
                file.flush()
            if sync:
                os.fsync(file.fileno())
        rename(beside, path)
    except InterruptedError:
        if clean:
            beside.unlink()
        if not swallow:
            raise


def naive(path, blocks):
    with open(path, "wb") as file:
        for block in blocks:
            file.write(block)


def removes_first(path, blocks):
    path.unlink(missing_ok=True)
    write_beside(path, blocks)


def copies(path, blocks):
    write_beside(path, blocks, rename=lambda a, b: (Path(b).write_bytes(Path(a).read_bytes()), Path(a).unlink()))


def through_another_folder(path, blocks):
    with tempfile.TemporaryDirectory() as other:
        write_beside(path, blocks, folder=other)


def sums_of(folder, read=lambda path: path.read_bytes(), missing=True):
    found = []
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split("  ")
        if (not (folder / name).exists() and missing) or hashlib.sha256(read(folder / name)).hexdigest() != wanted:
            found.append(name)
    return found


def choose(candidates, *, key=lambda c: (c[1], c[0] == "out"), refuse=True):
    good = [c for c in candidates if c[2] is None]
    if not good and candidates and refuse:
        raise ValueError("; ".join(f"{c[0]}: {c[2]}" for c in candidates))
    return max(good, key=key)[:2] if good else None


def refuses_silently(candidates):
    try:
        return choose(candidates)
    except ValueError:
        raise ValueError("no good checkpoint") from None


def temporary_beside(path, blocks):
    file = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)  # noqa: SIM115
    try:
        with file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file)
        os.replace(file.name, path)
    except BaseException:
        os.remove(file.name)
        raise


def by_descriptor(path, blocks):
    """Without Python's buffer there is nothing to flush."""
    beside = f"{path}.part"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for block in blocks:
            os.write(descriptor, block)
        os.fsync(descriptor)
        os.close(descriptor)
        shutil.move(beside, path)
    except Exception:
        os.unlink(beside)
        raise


def sums_by_blocks(folder):
    wrong = set()
    for line in (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines():
        digest, name = line.split()
        try:
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            found = None
        if found != digest:
            wrong.add(name)
    return wrong


def sums_by_hand(folder):
    expected = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().split("\n") if line)
    sums = {path.name: hashlib.sha256(path.read_bytes()) for path in folder.iterdir()}
    return tuple(name for name in expected if name not in sums or sums[name].hexdigest() != expected[name])


def choose_by_loop(candidates):
    best = None
    for folder, step, refusal in candidates:
        if refusal is None and (best is None or step > best[1] or (step == best[1] and folder == "out")):
            best = (folder, step)
    if best is None and len(candidates) > 0:
        raise ValueError(f"none is good: {candidates}")
    return best


def choose_sorted(candidates):
    if candidates == []:
        return None
    ranked = sorted(((step, folder == "out", folder) for folder, step, why in candidates if not why), reverse=True)
    if not ranked:
        raise ValueError(", ".join(why for *_, why in candidates))
    return [ranked[0][2], np.int64(ranked[0][0])]


def counted(n_tokens, B, T, per_epoch):
    epoch, place = 0, n_tokens // B // T
    while place >= per_epoch:
        epoch, place = epoch + 1, place - per_epoch
    return [epoch, place]


NUMBERS_HELD = {"AdamW": 3, "SGD with momentum": 2, "SGD": 1}
RIGHT_ANSWERS = {
    "c1-bytes": [
        lambda n, optimizer: 4 * n * NUMBERS_HELD[optimizer],
        lambda n, optimizer: n * 4 + 2 * n * 4 * (optimizer == "AdamW") + n * 4 * ("momentum" in optimizer),
        lambda n, optimizer: np.zeros((NUMBERS_HELD[optimizer], n), dtype=np.float32).nbytes,
    ],
    "c1-next-batch": [
        lambda n, B, T, per_epoch: (n // (B * T * per_epoch), n % (B * T * per_epoch) // (B * T)),
        lambda n, B, T, per_epoch: divmod(n / B / T, per_epoch),
        lambda n, B, T, per_epoch: np.unravel_index(n // B // T, (99, per_epoch)),
        counted,
    ],
    "c2-atomic-write": [
        write_beside,
        lambda path, blocks: write_beside(path, blocks, rename=os.rename),
        temporary_beside,
        by_descriptor,
    ],
    "c2-check-sums": [
        sums_of,
        sums_by_blocks,
        sums_by_hand,
        lambda folder: sorted(map(Path, sums_by_blocks(folder))),
    ],
    "c2-go-on-from": [
        choose,
        choose_by_loop,
        choose_sorted,
        lambda c: next(
            iter(sorted(((f, s) for f, s, r in c if not r), key=lambda g: (-g[1], g[0] != "out"))), choose(c)
        ),
    ],
}

MISTAKES = [
    ("c1-bytes", lambda n, optimizer: 4 * n, "remember"),
    ("c1-bytes", lambda n, optimizer: 12 * n, "SGD"),
    ("c1-bytes", lambda n, optimizer: n * NUMBERS_HELD[optimizer], "how many bytes has a float32"),
    ("c1-bytes", lambda n, optimizer: 8 * n * NUMBERS_HELD[optimizer], "how many bytes has a float32"),
    ("c1-bytes", lambda n, optimizer: f"{4 * n * NUMBERS_HELD[optimizer]:,}", "(str)"),
    ("c1-bytes", lambda n, optimizer: 2 * n * NUMBERS_HELD[optimizer], "AdamW"),
    ("c1-next-batch", lambda n, B, T, per_epoch: (0, n // (B * T)), "same epoch"),
    ("c1-next-batch", lambda n, B, T, per_epoch: divmod(n // B, per_epoch), "64 tokens"),
    ("c1-next-batch", lambda n, B, T, per_epoch: divmod(n // (B * T) + 1, per_epoch), "0 tokens"),
    ("c1-next-batch", lambda n, B, T, per_epoch: n // (B * T), "(epoch, place)"),
    ("c1-next-batch", lambda n, B, T, per_epoch: divmod(n // (B * T), per_epoch)[::-1], "same epoch"),
    ("c1-next-batch", lambda n, B, T, per_epoch: (1 + counted(n, B, T, per_epoch)[0], 0), "counted from 0"),
    ("c2-atomic-write", naive, "Under which name"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, sync=False), "no fsync"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, flush=False), "flush"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, clean=False), "still there"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, blocks, swallow=True), "as if nothing"),
    ("c2-atomic-write", lambda path, blocks: write_beside(path, [b"".join(blocks)]), "in memory"),
    ("c2-atomic-write", removes_first, "Under which name"),
    ("c2-atomic-write", copies, "without os.replace"),
    ("c2-atomic-write", through_another_folder, "the same folder"),
    ("c2-atomic-write", lambda path, blocks: None, "holds None"),
    ("c2-check-sums", lambda folder: [], "one bit flipped"),
    (
        "c2-check-sums",
        lambda folder: [folder / name for name in sums_of(folder)],
        "Path('folder",
    ),
    ("c2-check-sums", lambda folder: len(sums_of(folder)), "got 0 (int)"),
    ("c2-check-sums", lambda folder: [n for n in sums_of(folder) if (folder / n).exists()], "a file deleted"),
    ("c2-check-sums", lambda folder: sums_of(folder, missing=False), "not a crash"),
    ("c2-check-sums", lambda folder: sums_of(folder, read=lambda path: path.read_bytes()[:65536]), "nothing was"),
    ("c2-check-sums", lambda folder: not sums_of(folder), "expected the names"),
    ("c2-go-on-from", lambda candidates: choose(candidates, refuse=False), "begin anew"),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=lambda c: str(c[1])), "newest good"),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=candidates.index), "newest good"),
    (
        "c2-go-on-from",
        lambda candidates: choose(candidates) if candidates else 0,
        "(folder, step) or None, got 0 (int)",
    ),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=lambda c: (c[0] == "out", c[1])), "newest good"),
    ("c2-go-on-from", lambda candidates: choose(candidates, key=lambda c: (c[1], c[0] == "drive")), "nearer"),
    ("c2-go-on-from", lambda candidates: choose([(*c[:2], None) for c in candidates]), "expected ('out', 20)"),
    ("c2-go-on-from", lambda candidates: (choose(candidates) or ("out",))[0], "a pair"),
    ("c2-go-on-from", refuses_silently, "reasons"),
]

test_checks = exercises.test_of(RIGHT_ANSWERS, MISTAKES)


def test_what_was_listened_to_is_given_back():
    before = os.fsync, os.replace, os.rename
    verdict("c2-atomic-write", naive)
    verdict("c2-atomic-write", write_beside)
    assert (os.fsync, os.replace, os.rename) == before


def test_no_verdict_names_a_folder_of_this_disk():
    for name, answer, _ in MISTAKES:
        assert tempfile.gettempdir() not in verdict(name, answer)
