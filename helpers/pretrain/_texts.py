"""From text files to two files of ids beside the run: one to train on, one to judge by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from helpers import data, tokenizer

DOCUMENT_BREAK = "\f"  # form feed: between the documents of a text file
VALIDATION_SHARE = 0.1


def documents(paths: Sequence[str | Path]) -> Iterator[str]:
    """The documents of text files, in order: what stands between form feeds, without the white space around it.

    ValueError: a file that cannot be read as UTF-8 text.
    """
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--text: {path} cannot be read as UTF-8 text ({error})") from error
        yield from (part.strip() for part in text.split(DOCUMENT_BREAK) if part.strip())


def prepare(folder: Path, texts: Sequence[str], validation: Sequence[str], seed: int) -> None:
    """Write folder/train.npy and folder/validation.npy, ids of GPT-2's vocabulary.

    validation  files to judge by; none: a share of the documents is held out, or the end of a single one

    ValueError: no text in the files.
    """
    encoding = tokenizer.gpt2()
    vocabulary = {"vocab_size": encoding.n_vocab, "end_of_text": encoding.eot_token}
    training = list(documents(texts))
    if not training:
        raise ValueError(f"--text: no text in {', '.join(map(str, texts))}")
    if validation:
        parts = training, list(documents(validation))
        if not parts[1]:
            raise ValueError(f"--validation: no text in {', '.join(map(str, validation))}")
    elif len(set(training)) > 1:
        parts = data.split_by_text(training, VALIDATION_SHARE, seed)
    else:
        ids = torch.tensor(encoding.encode_ordinary(training[0]))
        for name, part in zip(("train", "validation"), data.cut(ids, VALIDATION_SHARE), strict=True):
            data.write_ids(folder / f"{name}.npy", [part.tolist()], **vocabulary)
        return
    for name, part in zip(("train", "validation"), parts, strict=True):
        data.write_ids(folder / f"{name}.npy", map(encoding.encode_ordinary, part), **vocabulary)


def open_both(folder: Path) -> tuple[np.memmap, np.memmap]:
    """(training ids, validation ids), read from disk as they are needed."""
    return data.open_ids(folder / "train.npy"), data.open_ids(folder / "validation.npy")


def fingerprint(paths: Sequence[str | Path]) -> str:
    """One sha256 over the bytes of all files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
