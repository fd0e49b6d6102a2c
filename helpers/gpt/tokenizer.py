"""GPT-2's byte-pair encoding, run by tiktoken, without a network: its published vocabulary lies in `assets/gpt2`.

Notebook 00 shows how a text is cut. A token is a run of bytes; its id is its rank: the lower, the sooner its two halves
are merged.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import tiktoken

VOCABULARY = Path(__file__).parents[1] / "assets" / "gpt2" / "encoder.json"
SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"  # of the file as it was published
END_OF_TEXT = "<|endoftext|>"
# A text is first cut into these pieces, and no token crosses a boundary: endings like 's, then letters, digits or
# signs with the space before them, spaces.
PIECES = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


SPACES = re.compile(r"(\s{10000})")  # of a longer run tiktoken makes an error that no `except Exception` catches


@cache
def gpt2() -> tiktoken.Encoding:
    """GPT-2's tokenizer, V = 50257: `encode(text)`, `decode(ids)`, `n_vocab`, `eot_token`.

    Afterwards `tiktoken.get_encoding("gpt2")` works offline in this process too.
    ValueError: `assets/gpt2/encoder.json` is missing or is not the published one.
    Source: Sennrich et al. 2016 (byte-pair encoding); Radford et al. 2019, section 2.2 (bytes as the alphabet).
    """
    ids = _published_ids(VOCABULARY)
    special = {END_OF_TEXT: ids.pop(END_OF_TEXT)}
    byte_of = byte_of_character()
    ranks = {bytes(byte_of[character] for character in token): i for token, i in ids.items()}
    encoding = tiktoken.Encoding("gpt2", pat_str=PIECES, mergeable_ranks=ranks, special_tokens=special)
    return tiktoken.registry.ENCODINGS.setdefault("gpt2", encoding)  # what get_encoding looks into first


def encode(encoding: tiktoken.Encoding, text: str, special: bool = False) -> list[int]:
    """The ids of a text, however long its white space; special tokens in it are themselves if `special`, else text."""
    allowed = "all" if special else set()
    parts = SPACES.split(text)
    return [i for part in parts for i in encoding.encode(part, allowed_special=allowed, disallowed_special=())]


def token_labels(token_ids: list[int]) -> list[str]:
    """Each token as Python writes a string, in quotes, so that a leading space or a line break can be seen.

    ValueError: an id outside GPT-2's vocabulary.
    """
    encoding, ids = gpt2(), np.atleast_1d(token_ids).tolist()
    if wrong := [i for i in ids if i not in range(encoding.n_vocab)]:
        raise ValueError(f"GPT-2's ids are in [0, {encoding.n_vocab}), got {wrong[0]!r:.60}")
    return [repr(encoding.decode([int(i)])) for i in ids]


def _published_ids(path: Path) -> dict[str, int]:
    data = path.read_bytes() if path.exists() else b""
    found = hashlib.sha256(data).hexdigest() if data else "no file"
    if found != SHA256:
        raise ValueError(f"{path} should have sha256 {SHA256}, got {found}: restore it from the repository")
    return json.loads(data)


def byte_of_character() -> dict[str, int]:
    """The file writes each byte as one visible character: itself, or, where it has no shape, the next from 256 on."""
    visible = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(others)}
