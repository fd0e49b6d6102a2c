"""GPT-2's byte-pair encoding through tiktoken, without a network: its two published files lie in `assets/gpt2`."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import tiktoken

ASSETS = Path(__file__).parents[1] / "assets" / "gpt2"
END_OF_TEXT = "<|endoftext|>"
# file here -> (name in tiktoken's cache: the sha1 of the address it was published at, sha256 of its bytes)
PUBLISHED = {
    "vocab.bpe": (
        "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
    "encoder.json": (
        "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
}


@cache
def gpt2() -> tiktoken.Encoding:
    """GPT-2's tokenizer, V = 50257; afterwards `tiktoken.get_encoding("gpt2")` works offline in this process too.

    return  `encode(text) -> list of ids`, `decode(ids) -> text`, `n_vocab`, `eot_token`

    ValueError: a file in `assets/gpt2` is missing or is not the published one.
    Source: Sennrich et al. 2016 (byte-pair encoding); Radford et al. 2019, section 2.2 (bytes as the alphabet).
    """
    _fill_tiktoken_cache()
    return tiktoken.get_encoding("gpt2")


def token_labels(token_ids: list[int]) -> list[str]:
    """Each token as Python writes a string, in quotes, so that a leading space or a line break can be seen.

    ValueError: an id outside GPT-2's vocabulary.
    """
    encoding = gpt2()
    wrong = [int(i) for i in token_ids if not 0 <= int(i) < encoding.n_vocab]
    if wrong:
        raise ValueError(f"GPT-2's ids are in [0, {encoding.n_vocab}), got {wrong[0]}")
    return [repr(encoding.decode([int(i)])) for i in token_ids]


def _fill_tiktoken_cache() -> None:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    if not folder:  # tiktoken's default is a shared temporary folder, which another user may own: take one of our own
        folder = os.path.join(tempfile.gettempdir(), f"tiktoken-gpt2-{_user_id()}")
    os.environ["TIKTOKEN_CACHE_DIR"] = folder  # an empty one would make tiktoken download
    os.makedirs(folder, exist_ok=True)
    for name, (cache_name, sha256) in PUBLISHED.items():
        target = Path(folder) / cache_name
        if target.exists() and _sha256(target) == sha256:
            continue
        source = ASSETS / name
        if not source.exists() or _sha256(source) != sha256:
            found = _sha256(source) if source.exists() else "no file"
            raise ValueError(f"{source} should have sha256 {sha256}, got {found}: restore it from the repository")
        _copy_atomically(source, target)


def _copy_atomically(source: Path, target: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    os.close(handle)
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _user_id() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
