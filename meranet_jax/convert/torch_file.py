"""PyTorch files (``torch.save``) with a state dict, read and written without PyTorch.

Two formats are read: the zip archive that PyTorch writes since version 1.6, and the
older sequence of pickles and numbers. The archive is written.
"""

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax.convert import tensor_pickle
from meranet_jax.convert.tensor_pickle import Storage, Tensor
from meranet_jax.errors import UserError
from meranet_jax.files import atomic_write, check_archive

# Suffixes of PyTorch files.
SUFFIXES = (".pth", ".pt")

# First two values of a file in the older format.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

# Member of an archive that we write, with our own information. PyTorch ignores it.
_METADATA = "meranet_jax.json"

_EXPECTED = (
    "Expected a file that torch.save(model.state_dict(), FILE) has written: tensors by "
    "name, and nothing else."
)


def read(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Reads a state dict.

    Nothing is unpickled or executed, and nothing is allocated that the file is too
    short for.

    Args:
      path: the file.

    Returns:
      The arrays by name, and the text that ``write`` was given, or None.

    Raises:
      UserError: if the file is missing, damaged or does not have a state dict.
    """
    try:
        # In memory: a file that is mapped could change while it is read.
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    try:
        text = None
        if content.startswith(b"PK"):
            tensors, text = _read_archive(content)
        else:
            tensors = _read_sequence(content)
        return {name: tensor.array() for name, tensor in tensors.items()}, text
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is damaged or incomplete: {error}. Copy or download it again."
        ) from error
    except (
        ValueError,
        KeyError,
        EOFError,
        OSError,
        OverflowError,
        NotImplementedError,
        RecursionError,
        RuntimeError,  # an encrypted member
        struct.error,
    ) as error:
        raise UserError(f"Cannot use {path}: {error}. {_EXPECTED}") from error


def _tensors(value: Any) -> dict[str, Tensor]:
    """Returns the tensors of a state dict; raises ValueError if it is not one."""
    if not isinstance(value, dict):
        raise ValueError(f"it has a {type(value).__name__}, not a state dict")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"its entry {str(name)[:80]!r} is not a tensor")
    return value


def _storages(tensors: Mapping[str, Tensor]) -> dict[str, Storage]:
    """Returns the storages of tensors by their keys."""
    return {tensor.storage.key: tensor.storage for tensor in tensors.values()}


def _read_archive(content: bytes) -> tuple[dict[str, Tensor], str | None]:
    """Reads the zip archive of PyTorch 1.6 and later."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = check_archive(archive, len(content))
        names = {member.filename for member in members}
        pickles = [name for name in names if name.count("/") == 1]
        pickles = [name for name in pickles if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("its archive has no data.pkl: PyTorch did not write it")
        folder = pickles[0].partition("/")[0]
        if f"{folder}/constants.pkl" in names:
            raise ValueError("it is a TorchScript program")

        order = b"little"
        if f"{folder}/byteorder" in names:
            order = archive.read(f"{folder}/byteorder")
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:20]!r}")

        value, _ = tensor_pickle.parse(archive.read(pickles[0]))
        tensors = _tensors(value)
        for key, storage in _storages(tensors).items():
            name = f"{folder}/data/{key}"
            if name not in names:
                raise ValueError(f"the data of the storage {key} are missing")
            dtype = storage.dtype.newbyteorder("<" if order == b"little" else ">")
            if archive.getinfo(name).file_size != storage.length * dtype.itemsize:
                raise ValueError(
                    f"its storage {key} does not have the size of {storage.length} "
                    f"numbers of type {dtype}"
                )
            storage.data = np.frombuffer(archive.read(name), dtype)
        text = None
        if f"{folder}/{_METADATA}" in names:
            text = archive.read(f"{folder}/{_METADATA}").decode()
    return tensors, text


def _read_sequence(content: bytes) -> dict[str, Tensor]:
    """Reads the format of PyTorch before 1.6: pickles, then the storages."""
    try:
        magic, position = tensor_pickle.parse(content)
    except ValueError:
        magic = None
    if magic != _MAGIC:
        raise ValueError("it is not a PyTorch file")
    protocol, position = tensor_pickle.parse(content, position)
    if protocol != _PROTOCOL:
        raise ValueError("its format has an unknown version")
    system, position = tensor_pickle.parse(content, position)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its byte order is not little-endian")
    value, position = tensor_pickle.parse(content, position)
    tensors = _tensors(value)
    storages = _storages(tensors)
    keys, position = tensor_pickle.parse(content, position)
    valid = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not valid or sorted(keys) != sorted(storages):
        raise ValueError("its storages are not those of its tensors")
    for key in keys:
        storage = storages[key]
        (length,) = struct.unpack_from("<q", content, position)
        position += 8
        dtype = storage.dtype.newbyteorder("<")
        end = position + storage.length * dtype.itemsize
        if length != storage.length or end > len(content):
            raise ValueError(
                f"its storage {key} does not have {storage.length} numbers; the file "
                "may be truncated"
            )
        storage.data = np.frombuffer(content, dtype, storage.length, position)
        position = end
    if position != len(content):
        raise ValueError("it has further content after its tensors")
    return tensors


def write(path: Path, arrays: Mapping[str, np.ndarray], text: str) -> None:
    """Writes a state dict as ``torch.save`` does, atomically.

    ``torch.load(path, weights_only=True)`` reads it. Equal arguments give equal bytes.

    Args:
      path: the file.
      arrays: float32 or int64 arrays by name.
      text: further information, for ``read``; PyTorch ignores it.
    """
    folder = "archive"
    members: dict[str, bytes] = {
        "data.pkl": _pickle(arrays),
        "byteorder": b"little",
        **{
            f"data/{key}": array.astype(array.dtype.newbyteorder("<")).tobytes()
            for key, array in enumerate(arrays.values())
        },
        "version": b"3\n",
        _METADATA: text.encode(),
    }
    with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(f"{folder}/{name}")
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)


_STORAGE_TYPES = {
    np.dtype(np.float32): b"FloatStorage",
    np.dtype(np.int64): b"LongStorage",
}


def _pickle(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the pickle (protocol 2) of a table of contiguous tensors.

    It is what PyTorch writes, but for the memo. Opcodes: ( mark, t tuple, c global, R
    call, Q storage, s set item, X string, J integer.
    """
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", ordered_dict]
    for key, (name, array) in enumerate(arrays.items()):
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        parts += [
            _string(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            b"(" + _string("storage"),
            b"ctorch\n" + _STORAGE_TYPES[array.dtype] + b"\n",
            _string(str(key)) + _string("cpu") + _integer(array.size) + b"tQ",
            _integer(0) + _integers(array.shape) + _integers(strides),
            b"\x89" + ordered_dict + b"tRs",  # needs no gradient, has no hooks
        ]
    return b"".join([*parts, b"."])


def _string(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _integers(numbers) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"
