"""safetensors files: a JSON table of arrays, then their numbers.

The format is https://github.com/huggingface/safetensors: the length of the table as 8
bytes, the table, and the numbers without gaps, all little-endian.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.files import atomic_write

_METADATA = "__metadata__"
_TYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


def write(path: Path, arrays: Mapping[str, np.ndarray], text: str) -> None:
    """Writes arrays to a safetensors file, atomically.

    Args:
      path: the file.
      arrays: by name.
      text: further information, for ``read``; ``metadata`` in the file's metadata.

    Raises:
      UserError: if an array has a type that the format does not have.
    """
    name_of = {dtype: name for name, dtype in _TYPES.items()}
    table: dict[str, Any] = {_METADATA: {"metadata": text}}
    contents, end = [], 0
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype not in name_of:
            raise UserError(f"{path}: {name} has the type {array.dtype}.")
        contents.append(array.astype(dtype).tobytes())
        begin, end = end, end + len(contents[-1])
        table[name] = {
            "dtype": name_of[dtype],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)  # aligns the numbers
    with atomic_write(path) as part, part.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for content in contents:
            file.write(content)


def read(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Reads a safetensors file.

    Args:
      path: the file.

    Returns:
      The arrays by name, and the text that ``write`` was given, or None.

    Raises:
      UserError: if the file is missing, damaged or no safetensors file.
    """
    try:
        content = path.read_bytes()
        return _read(content)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        struct.error,
    ) as error:
        raise UserError(
            f"Cannot use {path}: {error}. Expected a safetensors file."
        ) from error


def _read(content: bytes) -> tuple[dict[str, np.ndarray], str | None]:
    (length,) = struct.unpack_from("<Q", content)
    start = 8 + length
    if start > len(content):
        raise ValueError("its table is longer than the file")
    table = json.loads(content[8:start], object_pairs_hook=_without_duplicates)
    text = table.pop(_METADATA, {}).get("metadata")
    if not isinstance(text, str | None):
        raise ValueError("its metadata are not a string")
    arrays, expected = {}, 0
    for name, entry in sorted(table.items(), key=lambda item: _offsets(item[1])):
        begin, end = _offsets(entry)
        dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
        if any(type(axis) is not int or axis < 0 for axis in shape):
            raise ValueError(f"{name} has the shape {str(shape)[:80]}")
        size = math.prod(shape)
        if begin != expected or end - begin != size * dtype.itemsize:
            raise ValueError(f"{name} does not have the size of its shape {shape}")
        if start + end > len(content):
            raise ValueError(f"{name} is behind the end of the file")
        array = np.frombuffer(content, dtype, size, start + begin).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="))
        expected = end
    if start + expected != len(content):
        raise ValueError("it has further content after its arrays")
    return arrays, text


def _offsets(entry: Mapping[str, Any]) -> tuple[int, int]:
    begin, end = entry["data_offsets"]
    if type(begin) is not int or type(end) is not int:
        raise ValueError("the position of an array is not a number")
    return begin, end


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("its table has two entries of the same name")
    return dict(pairs)
