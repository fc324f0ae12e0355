"""Weights of our networks as state dicts of PyTorch, and back.

Kernels are [..., C, O] in our networks and [O, C, ...] in PyTorch. Layers are named by
``Network.torch_name``. Layers of networks that flatten maps over time and space see
them in our order, [T, H, W, C], also after the conversion.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax import weights_file
from meranet_jax.errors import UserError
from meranet_jax.recognisers import Network
from meranet_jax.weights_file import Weights

# Collection and name of an array in our networks -> its name in PyTorch.
_NAMES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
# Counted by PyTorch's normalisations, and used only if they have no momentum.
_COUNT = "num_batches_tracked"


def to_torch(network: Network, weights: Weights) -> dict[str, np.ndarray]:
    """Converts weights to a state dict.

    Args:
      network: the specification.
      weights: of the network, a tree of arrays.

    Returns:
      The arrays by their names in PyTorch.

    Raises:
      UserError: if two arrays would have the same name.
    """
    arrays = weights_file.flatten(weights)
    names = dict(_torch_names(network, arrays))
    converted = {}
    for path, name in sorted(names.items(), key=lambda item: item[1]):
        converted[name] = _to_torch_layout(path, arrays[path])
        if name.endswith(".running_mean"):
            count = f"{name.rpartition('.')[0]}.{_COUNT}"
            converted[count] = np.zeros((), np.int64)
    return converted


def from_torch(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    network: Network,
    expected: Weights,
    title: str,
) -> dict[str, Any]:
    """Converts a state dict to weights.

    Args:
      path: its file, for messages.
      arrays: the arrays of the state dict by name.
      network: the specification.
      expected: the shapes and types of the network's weights, a tree.
      title: name of the network, for messages.

    Returns:
      The weights, a tree of arrays.

    Raises:
      UserError: if an array is missing, is not expected, or has another shape or type.
    """
    shapes = weights_file.shapes(expected)
    names = dict(_torch_names(network, shapes))
    wanted = {
        name: _to_torch_layout(ours, np.broadcast_to(np.float32(0), shapes[ours]))
        for ours, name in names.items()
    }
    counts = {
        f"{name.removesuffix('running_mean')}{_COUNT}"
        for name in wanted
        if name.endswith(".running_mean")
    }
    found = {name: array for name, array in arrays.items() if name not in counts}
    weights_file.check_shapes(path, found, wanted, title)
    for name, array in found.items():
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            raise UserError(
                f"{path}: {name} has the type {array.dtype}. Expected float32; convert "
                "the model in PyTorch with model.float()."
            )
    converted = {
        ours: _from_torch_layout(ours, found[name]) for ours, name in names.items()
    }
    weights_file.check_values(path, converted)
    return weights_file.unflatten(converted)


def _torch_names(
    network: Network, paths: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields the path of each array and its name in PyTorch.

    Raises:
      UserError: if two arrays have the same name.
    """
    path_of: dict[str, str] = {}
    for path in paths:
        collection, *layer, last = path.split("/")
        leaf = _NAMES.get((collection, last), last)
        name = f"{network.torch_name('/'.join(layer))}.{leaf}" if layer else leaf
        if name in path_of:
            raise UserError(
                f"{path} and {path_of[name]} would both be {name} in PyTorch. Set "
                f"torch_name of {network.name}."
            )
        path_of[name] = path
        yield path, name


def _is_kernel(path: str, array: np.ndarray) -> bool:
    return path.endswith("/kernel") and array.ndim > 1


def _to_torch_layout(path: str, array: np.ndarray) -> np.ndarray:
    """Transposes a kernel [..., C, O] to [O, C, ...]."""
    if not _is_kernel(path, array):
        return array
    axes = range(array.ndim)
    return array.transpose(axes[-1], axes[-2], *axes[:-2])


def _from_torch_layout(path: str, array: np.ndarray) -> np.ndarray:
    """Copies an array, and transposes a kernel [O, C, ...] to [..., C, O]."""
    if _is_kernel(path, array):
        array = array.transpose(*range(2, array.ndim), 1, 0)
    return array.astype(np.float32, order="C")
