"""Token ids in a file of numpy's own format: written document by document, opened at once whatever its size."""

from __future__ import annotations

import os
import struct
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

HEADER_BYTES = 128  # fixed, so that the length can be filled in when all documents are written


def write_ids(path: str | Path, documents: Iterable[Sequence[int]], *, vocab_size: int, end_of_text: int) -> int:
    """Write the ids of all documents, each followed by `end_of_text`, and return how many ids that made.

    One document at a time is in memory. The file appears under its name only when it is whole. It is an ordinary
    `.npy` file of uint16 (a vocabulary of up to 65,536) or uint32.

    ValueError: no document, or an id (`end_of_text` too) outside [0, vocab_size).
    """
    path = Path(path)
    dtype = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    n_ids = 0
    try:
        with open(unfinished, "wb") as file:
            file.write(_header(0, dtype))
            for number, document in enumerate(documents):
                ids = np.asarray([*document, end_of_text])
                if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= vocab_size:
                    raise ValueError(
                        f"document {number}: ids must be integers in [0, {vocab_size}), got {ids.min()} to {ids.max()} "
                        f"of {ids.dtype}, the end of the text included: does the tokenizer belong to this vocabulary?"
                    )
                file.write(ids.astype(dtype).tobytes())
                n_ids += len(ids)
            if not n_ids:
                raise ValueError(f"expected at least one document for {path}, got none")
            file.seek(0)
            file.write(_header(n_ids, dtype))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return n_ids


def open_ids(path: str | Path) -> np.memmap:
    """The ids of a file, (N,) of unsigned integers, read from disk only where they are looked at.

    ValueError: the file is no such list, or not as long as its header says (a copy that was cut off).
    """
    try:
        ids = np.lib.format.open_memmap(path, mode="r")
        expected, got = ids.offset + ids.nbytes, os.path.getsize(path)
        if expected != got:
            raise ValueError(f"its header speaks of {expected} bytes, it has {got}")
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:  # numpy reads a header as Python
        raise ValueError(f"{path} is not a whole file of ids ({error}): write it again with `write_ids`") from error
    if ids.ndim != 1 or ids.dtype.kind != "u" or ids.dtype.str.startswith(">"):
        raise ValueError(f"{path}: expected one list of unsigned integers, got {ids.shape} of {ids.dtype}")
    return ids


def _header(n_ids: int, dtype: np.dtype) -> bytes:
    """The opening of a `.npy` file, padded to HEADER_BYTES. Source: numpy, NEP 1, format version 1.0."""
    description = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({n_ids},), }}"
    magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER_BYTES - 10)
    return magic + description.encode().ljust(HEADER_BYTES - 11) + b"\n"
