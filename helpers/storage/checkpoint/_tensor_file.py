"""Tensors as a safetensors file, written and read in one pass that checks as it goes.

The format: 8 bytes with the header's length, the header in JSON (dtype, shape and place of each tensor), the values.
Files are read, not mapped into memory: where a network drive goes away a read fails with an error, a mapped page kills
the process. Source: the format's description at github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.storage.checkpoint._errors import Damaged
from helpers.storage.checkpoint._files import BLOCK_BYTES, SummedReader
from helpers.storage.checkpoint._tree import METADATA, load_json

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library
LENGTH_BYTES = 8
MAX_VALUES = 1 << 60  # far above any tensor, far below where sizes in bytes overflow 64 bits
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def check_storable(tensors: dict[str, Tensor]) -> None:
    """ValueError: a dtype that the format does not hold."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _NAMES)
            raise ValueError(f"{name}: expected a dtype among {known}, got {tensor.dtype}")


def tensor_blocks(file: str, tensors: dict[str, Tensor], table: list[dict]) -> Iterator[memoryview | bytes]:
    """The bytes of a safetensors file, a block at a time; a row per tensor is added to `table` on the way."""
    # widest numbers first, so that each tensor begins at a multiple of its own width, as the library has it
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, dict] = {METADATA: {"format": "pt"}}
    start = 0
    for name in names:
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    raw = json.dumps(header, separators=(",", ":")).encode("ascii")
    raw += b" " * (-len(raw) % LENGTH_BYTES)
    yield len(raw).to_bytes(LENGTH_BYTES, "little") + raw
    for name in names:
        values, crc = _values(tensors[name].cpu().contiguous()), 0
        for at in range(0, len(values), BLOCK_BYTES):
            block = values[at : at + BLOCK_BYTES]
            crc = zlib.crc32(block, crc)
            yield block
        row = {"file": file, "name": name, "dtype": header[name]["dtype"], "shape": header[name]["shape"]}
        table.append({**row, "crc32": f"{crc:08x}"})


def read_tensors(reader: SummedReader, rows: list[dict]) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor on the CPU) for each row of the table, each compared with it; nothing is believed before.

    Damaged: a header, a place, a dtype, a shape or a checksum that is not the table's.
    """
    for row, n_bytes in _check_header(reader, rows):
        tensor = torch.empty(n_bytes, dtype=torch.uint8)
        values, crc = memoryview(tensor.numpy()), 0
        for at in range(0, n_bytes, BLOCK_BYTES):
            block = values[at : at + BLOCK_BYTES]
            reader.fill(block)
            crc = zlib.crc32(block, crc)
        if f"{crc:08x}" != row["crc32"]:
            raise Damaged(
                f"{reader.name}: tensor {row['name']} has other values than were saved "
                f"(expected crc32 {row['crc32']}, got {crc:08x})"
            )
        yield row["name"], tensor.view(DTYPES[row["dtype"]]).reshape(row["shape"])


def _check_header(reader: SummedReader, rows: list[dict]) -> list[tuple[dict, int]]:
    """Rows in the order of their places in the file, with their sizes in bytes; the places fill the file exactly."""
    header, data_bytes = _header(reader)
    by_name = {row["name"]: row for row in rows}
    if set(header) != set(by_name):
        missing, extra = sorted(set(by_name) - set(header)), sorted(set(header) - set(by_name))
        raise Damaged(f"{reader.name} does not hold the tensors of the table: missing {missing}, extra {extra}")
    ordered, start = [], 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        row = by_name[name]
        for key in ("dtype", "shape"):
            if entry[key] != row[key]:
                raise Damaged(f"{reader.name}: tensor {name}: expected {key} {row[key]}, got {entry[key]}")
        n_bytes = math.prod(row["shape"]) * DTYPES[row["dtype"]].itemsize
        if entry["data_offsets"] != [start, start + n_bytes]:
            place = entry["data_offsets"]
            raise Damaged(f"{reader.name}: tensor {name}: expected bytes {start} to {start + n_bytes}, got {place}")
        ordered.append((row, n_bytes))
        start += n_bytes
    if start != data_bytes:
        raise Damaged(f"{reader.name} is truncated or too long: expected {start} bytes of values, got {data_bytes}")
    return ordered


def _header(reader: SummedReader) -> tuple[dict[str, dict], int]:
    if reader.size < LENGTH_BYTES:
        raise Damaged(f"{reader.name} is truncated: expected at least {LENGTH_BYTES} bytes, got {reader.size}")
    length = int.from_bytes(reader.take(LENGTH_BYTES), "little")
    rest = reader.size - LENGTH_BYTES
    if length > min(rest, MAX_HEADER_BYTES):
        raise Damaged(f"{reader.name} is truncated or no safetensors: a header of {length} bytes, {rest} left")
    header = load_json(reader.take(length), f"the header of {reader.name}")
    header.pop(METADATA, None)
    for name, entry in header.items():
        whole = isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}
        if not whole or not _is_numbers(entry["data_offsets"], 2):
            raise Damaged(f"the header of {reader.name} is not as it was written: tensor {name}: {str(entry)[:80]}")
    return header, rest - length


def check_table(table: object, files: tuple[str, ...], what: str) -> dict[str, list[dict]]:
    """The rows of a table of tensors, by file. Damaged: a row that `tensor_blocks` would not write."""
    result: dict[str, list[dict]] = {file: [] for file in files}
    if not isinstance(table, list):
        raise Damaged(f"{what}: expected a table of tensors, got {type(table).__name__}")
    seen = set()
    for row in table:
        if not (isinstance(row, dict) and set(row) == {"file", "name", "dtype", "shape", "crc32"}):
            raise Damaged(f"{what}: a row of the table of tensors is not what was written: {str(row)[:80]}")
        known = isinstance(row["file"], str) and row["file"] in result and isinstance(row["name"], str)
        if not known or (row["file"], row["name"]) in seen:
            raise Damaged(f"{what}: a tensor stands twice in the table or in no file: {str(row)[:80]}")
        shape_fits = _is_numbers(row["shape"]) and math.prod(max(n, 1) for n in row["shape"]) < MAX_VALUES
        if not isinstance(row["dtype"], str) or row["dtype"] not in DTYPES or not shape_fits:
            raise Damaged(f"{what}: tensor {row['name']} has dtype {row['dtype']} and shape {row['shape']}")
        seen.add((row["file"], row["name"]))
        result[row["file"]].append(row)
    return result


def _is_numbers(value: object, length: int | None = None) -> bool:
    whole = isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
    return whole and length in (None, len(value))


def _values(tensor: Tensor) -> memoryview:
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
