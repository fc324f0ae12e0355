"""Weights files: the weights of one network in a ``.npz`` file, with their origin.

A weights file contains an array for each parameter and statistic, whose name is its
path, such as ``params/block1_1/conv1/kernel``, and the string ``metadata``, JSON. It is
read without pickle and without JAX.
"""

import dataclasses
import json
import math
import typing
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.files import atomic_write, check_archive
from meranet_jax.validation import has_type
from meranet_jax.version import __version__

# A tree of arrays: nested dictionaries.
Weights = Mapping[str, Any]

_METADATA = "metadata"
# Real numbers
_KINDS = "fiu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is needed to use weights, and what they were trained on.

    Attributes:
      model: the recogniser, a value of ``--model``.
      settings: settings of the recogniser that determine its architecture.
      input: a value of ``--input``.
      frames: T of the clips.
      size: H and W of the clips.
      classes: names of the outputs, in order.
      origin: one sentence for people: where the weights come from.
      datasets: names of the data sets that the weights were trained on; None if they
        are unknown, so that it can be any data set.
      subjects: the subjects of ``datasets`` that the weights were trained on or
        selected by, prefixed by the data set's name if there are several data sets, as
        in ``predictions.csv``. None if they are unknown, so that it can be any subject.
      flow_method: how the input's optical flow was estimated, a value of
        ``--flow_method``; None if the input has none, or it is unknown.
      version: version of this package that wrote the file.
    """

    model: str
    settings: Mapping[str, Any]
    input: str
    frames: int
    size: int
    classes: tuple[str, ...]
    origin: str
    datasets: tuple[str, ...] | None = None
    subjects: tuple[str, ...] | None = None
    flow_method: str | None = None
    version: str = __version__

    def to_json(self) -> str:
        """Returns the metadata as JSON, with fields by their names."""
        return json.dumps(vars(self) | {"settings": dict(self.settings)})

    @classmethod
    def from_json(cls, text: str) -> "Metadata":
        """Returns the metadata of a JSON string.

        Unknown fields, which later versions may write, are ignored.

        Raises:
          ValueError: if it is not JSON, or a field is missing or has another type.
        """
        saved = json.loads(text)
        if not isinstance(saved, dict):
            raise ValueError(f"the metadata are a {type(saved).__name__}")
        values = {}
        for name, hint in typing.get_type_hints(cls).items():
            if name not in saved:
                raise ValueError(f"the metadata have no {name}")
            value = saved[name]
            if isinstance(value, list):
                value = tuple(value)
            expected = dict if name == "settings" else hint
            if isinstance(value, bool) or not has_type(value, expected):
                raise ValueError(f"{name} in the metadata is {value!r}")
            values[name] = value
        values["settings"] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values["settings"].items()
        }
        if min(values["frames"], values["size"], len(values["classes"])) < 1:
            raise ValueError("the metadata have no frames, no pixels or no classes")
        return cls(**values)


def save(path: Path, weights: Weights, metadata: Metadata) -> None:
    """Saves weights in a weights file, atomically.

    Equal weights and metadata give equal bytes.

    Args:
      path: the file, whose name ends in ``.npz``.
      weights: a tree of arrays.
      metadata: of the weights.

    Raises:
      UserError: if ``path`` has another suffix, a name contains a slash, or an array is
        not finite.
    """
    if path.suffix != ".npz":
        raise UserError(f"{path}: the name of a weights file must end in .npz.")
    arrays = flatten(weights)
    check_values(path, arrays)
    arrays[_METADATA] = np.array(metadata.to_json())
    with atomic_write(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            # numpy.savez would add the time.
            member = zipfile.ZipInfo(f"{name}.npy")
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.asarray(array, order="C"), (1, 0), allow_pickle=False
                )


def load(path: Path) -> tuple[dict[str, Any], Metadata]:
    """Reads a weights file.

    Nothing is unpickled, and nothing is allocated that the file is too short for.

    Args:
      path: the file.

    Returns:
      The weights, a tree of NumPy arrays, and their metadata.

    Raises:
      UserError: if the file is missing, damaged or not a weights file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = dict(_read_arrays(archive, path.stat().st_size))
        if _METADATA not in arrays:
            raise ValueError("it has no metadata")
        text = arrays.pop(_METADATA)
        if text.dtype.kind != "U" or text.shape:
            raise ValueError("its metadata are not a string")
        metadata = Metadata.from_json(text.item())
        weights = unflatten(arrays)
        if not weights:
            raise ValueError("it has no arrays")
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is not a weights file, or is damaged or incomplete: {error}. Copy "
            "it again."
        ) from error
    except (
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        RecursionError,
        RuntimeError,  # an encrypted member
    ) as error:
        raise UserError(
            f"{path} is not a weights file that this version can use: {error}. "
            "Expected a .npz file that python -m meranet_jax.convert has written."
        ) from error
    check_values(path, arrays)
    return weights, metadata


def _read_arrays(
    archive: zipfile.ZipFile, size: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Reads the arrays of an archive.

    Args:
      archive: opened for reading.
      size: of the file in bytes.

    Yields:
      The name and the array of each member.

    Raises:
      ValueError: if a member is not what ``save`` writes.
    """
    for member in check_archive(archive, size):
        name, dot, suffix = member.filename.rpartition(".")
        if not dot or suffix != "npy":
            raise ValueError(f"{member.filename!r} in it is not an array")
        with archive.open(member) as file:
            yield name, _read_array(name, file, member.file_size)


def _read_array(name: str, file, size: int) -> np.ndarray:
    """Reads an array from an opened ``.npy`` file of ``size`` bytes."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} has another version of the .npy format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    kinds = "U" if name == _METADATA else _KINDS
    if dtype.kind not in kinds or dtype.hasobject:
        raise ValueError(f"{name} has the type {dtype}")
    # Before anything is allocated
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + expected != size:
        raise ValueError(f"{name} does not have the size of its shape {shape}")
    # A writable copy in the machine's byte order
    array = np.frombuffer(file.read(), dtype).astype(dtype.newbyteorder("="))
    if fortran_order:
        return array.reshape(shape[::-1]).transpose()
    return array.reshape(shape)


def check_values(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that arrays contain real, finite numbers.

    Args:
      path: file of the arrays, for messages.
      arrays: by name.

    Raises:
      UserError: if one does not.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise UserError(f"{path}: {name} has the type {array.dtype}, not numbers.")
        if not np.isfinite(array).all():
            raise UserError(
                f"{path}: {name} has values that are not finite. The weights cannot be "
                "used; train or convert them again."
            )


def flatten(weights: Weights) -> dict[str, np.ndarray]:
    """Returns the arrays of a tree by their paths, sorted.

    Raises:
      UserError: if a name is empty or contains a slash.
    """
    found: dict[str, np.ndarray] = {}

    def visit(node: Any, path: str) -> None:
        if not isinstance(node, Mapping):
            found[path] = np.asarray(node)
            return
        for name in sorted(node):
            if not name or "/" in name:
                raise UserError(
                    f"A weight is named {path}/{name}: names in a weights file must "
                    "not be empty or contain a slash."
                )
            visit(node[name], f"{path}/{name}" if path else name)

    visit(weights, "")
    return found


def unflatten(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tree of arrays by their paths.

    Raises:
      ValueError: if a name in a path is empty, or a path continues that of an array.
    """
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, last = path.split("/")
        node: Any = tree
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path} continues the path of an array")
        if not all((*parents, last)) or last in node:
            raise ValueError(f"{path} is not the path of an array")
        node[last] = array
    return tree


def check_shapes(path: Path, weights: Weights, expected: Weights, network: str) -> None:
    """Compares the names and shapes of weights with those of a network.

    Args:
      path: file or folder of the weights, for messages.
      weights: a tree of arrays.
      expected: a tree of arrays, or of their shapes and types, of the network.
      network: name of the network, for messages.

    Raises:
      UserError: if an array is missing, is not expected, or has another shape.
    """
    found, wanted = shapes(weights), shapes(expected)
    differences = [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(f"{name} is not expected" for name in found if name not in wanted),
        *(
            f"{name} is {found[name]}, not {shape}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ),
    ]
    if differences:
        raise UserError(
            f"{path} does not have the weights of {network}: "
            f"{'; '.join(differences[:3])}"
            f"{f' and {len(differences) - 3} more' if differences[3:] else ''}."
        )


def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array by its path.

    Args:
      weights: a tree of arrays, or of their shapes and types.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name in sorted(weights):
        node = weights[name]
        if isinstance(node, Mapping):
            found |= {f"{name}/{rest}": shape for rest, shape in shapes(node).items()}
        else:
            found[name] = tuple(node.shape)
    return found
