"""The tokenizer that lies beside published weights, as tiktoken runs it: the same interface as the course's GPT-2's."""

from __future__ import annotations

import json
from pathlib import Path

import tiktoken

from helpers.gpt import tokenizer
from helpers.storage.checkpoint.folder import as_written

# Each digit alone, then GPT-2's pieces of what lies between: a run of spaces before a digit stays whole
PIECES = r"\p{N}|\s++(?=\p{N})|" + tokenizer.PIECES.replace(r" ?\p{N}++|", "")


def read_tokenizer(folder: str | Path) -> tiktoken.Encoding:
    """The tokenizer of a folder that `fetch` made: `encode`, `decode`, `n_vocab`, as `tokenizer.gpt2()` has them.

    GPT-2's tokens are the default; tokenizer.json of SmolLM2's family says otherwise. Its `eot_token` is the end of a
    document, <|endoftext|>; an answer of its chat ends with <|im_end|>. 21 bytes that hardly occur in texts, such as
    control characters, are no tokens of it; here they have ids from V on, which a model of V tokens refuses.

    FileNotFoundError: no tokenizer.json. ValueError: another family's way to cut a text.
    Source: the tables are the file's own; a token's rank is its id, since ids were given in the order of the merges.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {folder}: GPT-2's folders do without; `tokenizer.gpt2()` is theirs")
    with as_written(path):
        table = json.loads(path.read_bytes())
        ways = (table.get("pre_tokenizer") or {}).get("pretokenizers", [])
        if [way.get("type") for way in ways] != ["Digits", "ByteLevel"] or not ways[0].get("individual_digits"):
            raise ValueError(f"it cuts texts by {ways}, expected digits one by one, then GPT-2's pieces")
        vocabulary = table["model"]["vocab"]
        special = {token["content"]: token["id"] for token in table["added_tokens"]}
        byte_of = tokenizer.byte_of_character()
        ranks = {bytes(map(byte_of.get, token)): i for token, i in vocabulary.items() if token not in special}
        if sorted((vocabulary | special).values()) != list(range(len(vocabulary | special))):
            raise ValueError("expected each id from 0 on once")
    absent = sorted({bytes([b]) for b in range(256)} - ranks.keys())
    ranks |= {byte: len(vocabulary) + n for n, byte in enumerate(absent)}
    return tiktoken.Encoding(path.parent.name, pat_str=PIECES, mergeable_ranks=ranks, special_tokens=special)
