"""Nested Python values as JSON that gives back exactly what went in; tensors are shelved and named in their place.

What JSON lacks is written as an object with one key: {"$tensor": name}, {"$tuple": [...]}, {"$float": "nan"} and, for a
dict with keys that are not plain strings, {"$dict": [[key, value], ...]}.
"""

from __future__ import annotations

import json
import math

import torch
from torch import Tensor

from helpers.storage.checkpoint._errors import Damaged

METADATA = "__metadata__"  # the one name that safetensors keeps for itself
_ODD_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Shelf:
    """Tensors by name, each piece of memory once: what is the same tensor twice gets one name."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple, str] = {}

    def put(self, tensor: Tensor, wish: str) -> str:
        """Name under which the tensor stands: `wish`, unless it is here already or the name is taken."""
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise ValueError(f"{wish}: expected a dense tensor with values, got {tensor.layout} on {tensor.device}")
        place = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
        key = (*place, tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in self._names:
            return self._names[key]
        name, n = wish, 0
        while name in self.tensors or name == METADATA:
            name, n = f"{wish}~{n + 1}", n + 1
        self.tensors[name] = tensor.detach()
        self._names[key] = name
        return name


def encode(value: object, where: str, shelf: Shelf | None = None) -> object:
    """`value` as plain JSON. `where` names it in errors and names its tensors; without a shelf tensors are refused.

    ValueError: something that is neither None, bool, number, str, list, tuple, dict nor tensor.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, list | tuple):
        items = [encode(item, f"{where}.{i}", shelf) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        return _encode_dict(value, where, shelf)
    if isinstance(value, Tensor) and shelf is not None:
        return {"$tensor": shelf.put(value, where)}
    expected = "None, a bool, a number, a str, a list, a tuple or a dict" + (" or a tensor" if shelf else "")
    raise ValueError(f"{where} cannot be stored: expected {expected}, got {type(value).__name__}; a number: .item()")


def _encode_dict(value: dict, where: str, shelf: Shelf | None) -> dict:
    for key in value:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(f"{where}: expected keys of type str or int, got {key!r}")
    pairs = [(key, encode(item, f"{where}.{key}" if where else str(key), shelf)) for key, item in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return dict(pairs)
    return {"$dict": [[key, item] for key, item in pairs]}


def decode(value: object, where: str, tensors: dict[str, Tensor] | None = None) -> object:
    """The inverse of `encode`. Damaged: what `encode` would never write."""
    try:
        return _decode(value, where, tensors or {})
    except RecursionError as error:
        raise Damaged(f"{where} is nested deeper than anything that is written") from error


def _decode(value: object, where: str, tensors: dict[str, Tensor]) -> object:
    if isinstance(value, list):
        return [_decode(item, where, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    special = next((key for key in value if key.startswith("$")), None)
    if special is None:
        return {key: _decode(item, where, tensors) for key, item in value.items()}
    inside = value[special]
    if len(value) == 1:
        if special == "$tuple" and isinstance(inside, list):
            return tuple(_decode(item, where, tensors) for item in inside)
        if special == "$float" and isinstance(inside, str) and inside in _ODD_FLOATS:
            return _ODD_FLOATS[inside]
        if special == "$tensor" and isinstance(inside, str) and inside in tensors:
            return tensors[inside]
        if special == "$dict" and isinstance(inside, list) and all(_is_pair(pair) for pair in inside):
            return {key: _decode(item, where, tensors) for key, item in inside}
    raise Damaged(f"{where} holds {special} with a value that is never written: {str(inside)[:80]!r}")


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str | int)


def dump_json(document: dict) -> bytes:
    """Pure ASCII, one line per entry of the outermost dict, so that a person can look into it."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in document.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


def load_json(raw: bytes, what: str) -> dict:
    """A JSON object, read strictly. Damaged: not JSON, a key twice, NaN or Infinity, or not an object."""
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Damaged(f"{what} is not the JSON that was written: {error}") from error
    if not isinstance(document, dict):
        raise Damaged(f"{what}: expected a JSON object, got {type(document).__name__}")
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
