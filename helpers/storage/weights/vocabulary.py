"""The tokens of a published model: its tokenizer as tiktoken runs it, and more or fewer tokens than it knows."""

from dataclasses import replace
from pathlib import Path

import tiktoken
import torch

from helpers.gpt import GPT, INIT_STD, require_kind, require_one_of, tokenizer
from helpers.storage.checkpoint.folder import as_written
from helpers.storage.files import read_json

MAX_TOKENIZER_BYTES = 1 << 24  # those of 150,000 tokens have eleven million
INITIALISATIONS = ("mean", "random")
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
        table = read_json(path, MAX_TOKENIZER_BYTES)
        ways = (table.get("pre_tokenizer") or {}).get("pretokenizers", [])
        if [way.get("type") for way in ways] != ["Digits", "ByteLevel"] or not ways[0].get("individual_digits"):
            raise ValueError(f"it cuts texts by {ways}, expected digits one by one, then GPT-2's pieces")
        changed = table.get("normalizer"), ways[1].get("add_prefix_space", True), not ways[1].get("use_regex", True)
        if any(changed):
            raise ValueError(
                f"it changes texts first: normalizer, prefix space, no pieces are {changed}, expected none"
            )
        vocabulary = table["model"]["vocab"]
        special = {token["content"]: token["id"] for token in table["added_tokens"]}
        if "" in vocabulary | special:
            raise ValueError("expected a text for each token, got an empty one")
        byte_of = tokenizer.byte_of_character()
        ranks = {bytes(map(byte_of.get, token)): i for token, i in vocabulary.items() if token not in special}
        n_tokens = len(vocabulary | special)
        if sorted((vocabulary | special).values()) != list(range(n_tokens)):
            raise ValueError("expected each id from 0 on once")
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in table["model"]["merges"]]
        merged = [vocabulary["".join(pair)] for pair in merges]
        if merged != sorted(i for token, i in ranks.items() if len(token) > 1):
            raise ValueError("expected a merge for each token of several bytes, in the order of their ids")
        absent = sorted({bytes([b]) for b in range(256)} - ranks.keys())
        ranks |= {byte: n_tokens + n for n, byte in enumerate(absent)}
        return tiktoken.Encoding(path.parent.name, pat_str=PIECES, mergeable_ranks=ranks, special_tokens=special)


def check_vocabulary(model: GPT, n_tokens: int) -> None:
    """Whether a tokenizer of `n_tokens` may speak to the model.

    A model may have more rows than the tokenizer has tokens, as padding to a round number gives (GPT-2 trained with
    50,304 rows for 50,257 tokens, OPT with 50,272 for 50,265). ValueError, with both numbers: it has fewer.
    """
    require_kind(GPT, model=model)
    if n_tokens > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {n_tokens:,} tokens with ids up to {n_tokens - 1:,}, but the model only has rows for "
            f"{model.config.vocab_size:,}: take the model's own tokenizer, or grow the model with "
            f"resize_vocabulary(model, {n_tokens})"
        )


def resize_vocabulary(model: GPT, vocab_size: int, *, initialisation: str = "mean") -> GPT:
    """A new model whose vocabulary has `vocab_size` tokens: the first min(V, vocab_size) rows are the old ones.

    initialisation  of new rows. "mean": the mean of the old rows, so that a new token begins as an average word, and
                    the old ones lose hardly any probability; "random": normal with std 0.02, as before training,
                    the same at every call
    return          GPT, on the model's device and in its mode; the given one stays as it is

    Growing changes the probabilities of old tokens, because the softmax has more terms; shrinking forgets the last
    ids, and texts that hold them can no longer be read. ValueError: vocab_size below 1, an unknown initialisation.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", for the mean.
    """
    require_kind(GPT, model=model)
    require_one_of(INITIALISATIONS, initialisation=initialisation)
    with torch.device("meta"):
        resized = GPT(replace(model.config, vocab_size=vocab_size))
    generator = torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("token_embedding.weight", "head.weight")[: 1 if model.config.tied_head else 2]:
        state[name] = _rows(state[name], vocab_size, initialisation, generator)
    if model.config.tied_head:
        state["head.weight"] = state["token_embedding.weight"]
    resized.load_state_dict(state, assign=True)
    if model.config.tied_head:
        resized.head.weight = resized.token_embedding.weight
    resized.gradient_checkpointing = model.gradient_checkpointing
    return resized.train(model.training)


def _rows(old: torch.Tensor, n_rows: int, initialisation: str, generator: torch.Generator) -> torch.Tensor:
    n_new = max(0, n_rows - len(old))
    if initialisation == "mean":
        new = old.float().mean(0, keepdim=True).expand(n_new, -1)
    else:
        new = torch.randn(n_new, old.shape[1], generator=generator) * INIT_STD
    return torch.cat([old[:n_rows], new.to(old)])
