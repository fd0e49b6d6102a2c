"""From text files to two files of ids beside the run: one to train on, one to judge by."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from helpers.gpt import data, tokenizer
from helpers.storage import open_ids, read_json, sha256, write_aside, write_ids

DOCUMENT_BREAK = re.compile(rf"\f|{re.escape(tokenizer.END_OF_TEXT)}")
VALIDATION_SHARE = 0.1
FILES = ("train.npy", "validation.npy")
MADE_FROM = "made_from.json"  # beside the ids, written last: what they were made from, and their checksums
IN_MEMORY_BYTES = 1 << 28


def documents(paths: Sequence[str | Path], option: str = "--text") -> tuple[list[str], int]:
    """(the documents of text files, in order; how many end-of-text tokens are written out in them).

    A document stands between form feeds or end-of-text tokens; the white space around it goes, and so does the mark
    that Windows puts at a file's start. ValueError: a file that cannot be read as UTF-8 text, or no text in them.
    """
    texts = [_read(path, option) for path in paths]
    found = [part.strip() for text in texts for part in DOCUMENT_BREAK.split(text) if part.strip()]
    if not found:
        raise ValueError(f"{option}: no text in {', '.join(map(str, paths))}")
    return found, sum(text.count(tokenizer.END_OF_TEXT) for text in texts)


def fingerprint_of(texts: Sequence[str | Path], validation: Sequence[str | Path]) -> str:
    """One sha256 over all files, in order; a mark at a file's start and the kind of its ends of lines do not count.

    ValueError: a file that cannot be read as UTF-8 text.
    """
    whole = hashlib.sha256()
    for option, paths in (("--text", texts), ("--validation", validation)):
        for path in paths:
            whole.update(hashlib.sha256(_read(path, option).encode()).digest())
    return whole.hexdigest()


def _read(path: str | Path, option: str) -> str:
    """A text file, its ends of lines as Unix has them. ValueError: one that cannot be read."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(
                f"{option}: {path} is a pipe or a device, which can be read once, and a run that goes on reads its "
                "texts again: write it to a file first"
            )
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{option}: {path} cannot be read as UTF-8 text ({error})") from error
    if "\0" in text:
        raise ValueError(f"{option}: {path} cannot be read as UTF-8 text (zero bytes in it: it may be UTF-16)")
    return text


def prepare(folder: Path, texts: Sequence[str], validation: Sequence[str], seed: int, fingerprint: str) -> list[str]:
    """Write folder/train.npy and folder/validation.npy, ids of GPT-2's vocabulary, unless they are there and whole.

    validation   files to judge by; none: a share of the documents is held out, or the end of a single one
    fingerprint  of all files
    return       what the reader of the run should know of the texts; nothing where ids were there

    ValueError: no text in the files, one that changed meanwhile, or the folder cannot be written.
    """
    mark, remarks = folder / MADE_FROM, []
    made_from = {"texts": fingerprint, "n_validation_files": len(validation), "seed": seed}
    try:
        with suppress(ValueError):  # damaged
            there = read_json(mark) if mark.is_file() else None
            if there == made_from | {"files": _sums(folder)}:
                return []
            if isinstance(there, dict) and there == made_from | {"files": there.get("files")}:
                remarks.append(f"{folder} was damaged: its ids were written anew")
        folder.mkdir(exist_ok=True)
        mark.unlink(missing_ok=True)
        remarks += _write(folder, texts, validation, seed)
        if fingerprint_of(texts, validation) != fingerprint:
            raise ValueError("--text: a file has changed while it was read: call again when it is whole")
        with write_aside(mark) as file:
            file.write(json.dumps(made_from | {"files": _sums(folder)}).encode() + b"\n")
    except OSError as error:
        raise ValueError(f"--out: {folder} cannot be written ({error}): choose another folder") from error
    return remarks


def _sums(folder: Path) -> dict[str, str | None]:
    """The sha256 of each file of ids, None where it is missing."""
    return {name: sha256(folder / name) if (folder / name).is_file() else None for name in FILES}


def _write(folder: Path, texts: Sequence[str], validation: Sequence[str], seed: int) -> list[str]:
    encoding = tokenizer.gpt2()
    vocabulary = {"vocab_size": encoding.n_vocab, "end_of_text": encoding.eot_token}
    training, n_ends = documents(texts)
    judged, n_more = documents(validation, "--validation") if validation else ([], 0)
    ends = f"{tokenizer.END_OF_TEXT} stands {n_ends + n_more} times in the texts: each ends a document"
    remarks = [ends] if n_ends + n_more else []
    if validation:
        parts = training, judged
    elif len(set(training)) > 1:
        parts = data.split_by_text(training, VALIDATION_SHARE, seed)
    else:
        ids = torch.tensor(_encode(training[0]))
        if len(ids) < 5:
            raise ValueError(f"--text: a document of {len(ids)} tokens holds nothing to judge by, got {training[0]!r}")
        for name, part in zip(FILES, data.cut(ids, VALIDATION_SHARE), strict=True):
            write_ids(folder / name, [part.tolist()], **vocabulary)
        return remarks
    for name, part in zip(FILES, parts, strict=True):
        write_ids(folder / name, map(_encode, part), **vocabulary)
    return remarks + _seen(*parts)


def _encode(document: str) -> list[int]:
    return tokenizer.encode(tokenizer.gpt2(), document)


def _seen(training: Sequence[str], validation: Sequence[str]) -> list[str]:
    """A remark where documents to judge by are in the training text too."""
    known = set(training)
    seen = [document for document in validation if document in known]
    share = sum(map(len, seen)) / sum(map(len, validation))
    what = f"{len(seen)} of {len(validation)} validation documents ({share:.0%} of the characters)"
    return [f"{what} are in the training text too: the loss on them is not that of a new text"] if seen else []


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
