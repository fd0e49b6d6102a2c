"""Token ids in a `.npy` file: written document by document, opened at once whatever its size."""

import os
import stat
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from helpers.gpt import require_kind, require_whole
from helpers.storage.files import write_aside

TOO_MUCH = MemoryError, RecursionError  # what numpy's reading of a hostile header ends in


def write_ids(path: str | Path, documents: Iterable[Sequence[int]], *, vocab_size: int, end_of_text: int) -> int:
    """Write the ids of all documents, each followed by `end_of_text`, and return how many ids that made.

    One document at a time is in memory. The file appears under its name only when it is whole. It is an ordinary
    `.npy` file of uint16 (a vocabulary of up to 65,536) or uint32.

    ValueError: no document, or an id (`end_of_text` too) outside [0, vocab_size). StorageError: as `write_aside`.
    """
    require_whole(vocab_size=vocab_size)
    require_whole(at_least=0, end_of_text=end_of_text)
    require_kind(Iterable, documents=documents)
    dtype = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
    n_ids = 0
    with write_aside(path) as file:
        start = _write_header(file, n_ids, dtype)
        for number, document in enumerate(documents):
            require_kind(Iterable, **{f"document {number}": document})
            ids = np.asarray([*document, end_of_text])
            if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= min(vocab_size, 2**32):
                got = f"{ids.min()} to {ids.max()}" if ids.dtype.kind in "iuf" else f"{document!r:.40}"
                raise ValueError(
                    f"document {number}: ids must be integers in [0, {vocab_size}), got {got} "
                    f"of {ids.dtype}, the end of the text included: does the tokenizer belong to this vocabulary?"
                )
            file.write(ids.astype(dtype).tobytes())
            n_ids += len(ids)
        if not n_ids:
            raise ValueError(f"expected at least one document for {path}, got none")
        file.seek(0)
        if _write_header(file, n_ids, dtype) != start:
            raise RuntimeError("numpy no longer pads its headers so that the number of ids can be filled in")
    return n_ids


def open_ids(path: str | Path) -> np.memmap:
    """The ids of a file, (N,) of unsigned integers, read from disk only where they are looked at.

    ValueError: the file is no such list, or not as long as its header says (a copy that was cut off).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("no plain file")
        ids = np.lib.format.open_memmap(path, mode="r")
        expected, got = ids.offset + ids.nbytes, os.path.getsize(path)
        if expected != got:
            raise ValueError(f"its header speaks of {expected} bytes, it has {got}")
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError, ArithmeticError, TypeError, *TOO_MUCH) as error:
        raise ValueError(f"{path} is not a whole file of ids ({error}): write it again with `write_ids`") from error
    if ids.ndim != 1 or ids.dtype.kind != "u" or ids.dtype.str.startswith(">"):
        raise ValueError(f"{path}: expected one list of unsigned integers, got {ids.shape} of {ids.dtype}")
    return ids


def _write_header(file: BinaryIO, n_ids: int, dtype: np.dtype) -> int:
    """Write the opening of a `.npy` file; returns its length, the same for any number of ids."""
    description = {"descr": dtype.str, "fortran_order": False, "shape": (n_ids,)}
    np.lib.format.write_array_header_1_0(file, description)
    return file.tell()
