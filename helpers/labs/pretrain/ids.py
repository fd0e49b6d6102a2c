"""From text files to two files of ids beside the run: one to train on, one to judge by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from helpers.gpt import data, tokenizer
from helpers.storage import open_ids, write_aside, write_ids

DOCUMENT_BREAK = "\f"  # form feed: between the documents of a text file
VALIDATION_SHARE = 0.1
FILES = ("train.npy", "validation.npy")
MADE_FROM = "made_from.json"  # beside the ids, written last: what they were made from, and their fingerprints
IN_MEMORY_BYTES = 1 << 28


def documents(paths: Sequence[str | Path], option: str = "--text") -> Iterator[str]:
    """The documents of text files, in order: what stands between form feeds, without the white space around it.

    ValueError: a file that cannot be read as UTF-8 text.
    """
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{option}: {path} cannot be read as UTF-8 text ({error})") from error
        yield from (part.strip() for part in text.split(DOCUMENT_BREAK) if part.strip())


def prepare(folder: Path, texts: Sequence[str], validation: Sequence[str], seed: int, fingerprint: str) -> bool:
    """Write folder/train.npy and folder/validation.npy, ids of GPT-2's vocabulary, unless they are there and whole.

    validation   files to judge by; none: a share of the documents is held out, or the end of a single one
    fingerprint  of all files
    return       whether they were there and damaged

    ValueError: no text in the files, or the folder cannot be written.
    """
    mark = folder / MADE_FROM
    made_from = {"texts": fingerprint, "n_validation_files": len(validation), "seed": seed}
    damaged = False
    try:
        with suppress(FileNotFoundError, ValueError):  # nothing written yet, or damaged
            there = json.loads(mark.read_bytes())
            if there == made_from | {"files": _sums(folder)}:
                return False
            damaged = isinstance(there, dict) and there == made_from | {"files": there.get("files")}
        folder.mkdir(exist_ok=True)
        mark.unlink(missing_ok=True)
        _write(folder, texts, validation, seed)
        with write_aside(mark) as file:
            file.write(json.dumps(made_from | {"files": _sums(folder)}).encode() + b"\n")
    except OSError as error:
        raise ValueError(f"--out: {folder} cannot be written ({error}): choose another folder") from error
    return damaged


def _sums(folder: Path) -> dict[str, str | None]:
    """The fingerprint of each file of ids, None where it is missing."""
    paths = {name: folder / name for name in FILES}
    return {name: fingerprint([path]) if path.exists() else None for name, path in paths.items()}


def _write(folder: Path, texts: Sequence[str], validation: Sequence[str], seed: int) -> None:
    encoding = tokenizer.gpt2()
    vocabulary = {"vocab_size": encoding.n_vocab, "end_of_text": encoding.eot_token}
    training = _some(texts, "--text")
    if validation:
        parts = training, _some(validation, "--validation")
    elif len(set(training)) > 1:
        parts = data.split_by_text(training, VALIDATION_SHARE, seed)
    else:
        ids = torch.tensor(encoding.encode_ordinary(training[0]))
        for name, part in zip(FILES, data.cut(ids, VALIDATION_SHARE), strict=True):
            write_ids(folder / name, [part.tolist()], **vocabulary)
        return
    for name, part in zip(FILES, parts, strict=True):
        write_ids(folder / name, map(encoding.encode_ordinary, part), **vocabulary)


def _some(paths: Sequence[str], option: str) -> list[str]:
    found = list(documents(paths, option))
    if not found:
        raise ValueError(f"{option}: no text in {', '.join(map(str, paths))}")
    return found


def open_both(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(training ids, validation ids): small files in memory, large ones read from disk as they are needed.

    ValueError: they cannot be read.
    """
    try:
        both = [open_ids(folder / name) for name in FILES]
    except OSError as error:
        raise ValueError(f"--out: {folder} cannot be read ({error.strerror}): is it on a drive of its own?") from error
    # a mapped file whose drive goes away ends the process without a word
    training, validation = (np.array(ids) if ids.nbytes <= IN_MEMORY_BYTES else ids for ids in both)
    return training, validation


def fingerprint(paths: Sequence[str | Path]) -> str:
    """One sha256 over the bytes of all files, in order. ValueError: one that cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror}): is the name right?") from error
    return digest.hexdigest()
