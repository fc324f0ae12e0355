"""Layers and weights of a network, found by tracing it.

For tables, saliency maps, freezing, and weights that are read from files.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.errors import UserError
from meranet_jax.models.dropout import Dropout

# Collections into which attention modules sow their weights, for saliency maps: one
# weight per channel, [B, 1, 1, 1, C], or per voxel, [B, T, H, W, 1]. Attention modules
# of users may also use them.
CHANNEL_WEIGHTS = "channel_weights"
ATTENTION_MAPS = "attention_maps"


@dataclasses.dataclass(frozen=True)
class Layer:
    """A direct submodule of a network.

    Attributes:
      name: name of the submodule.
      is_norm: whether it is a normalisation.
      output: shape of the output of its first call.
    """

    name: str
    is_norm: bool
    output: tuple[int, ...]


def trace(model: nn.Module, clip_shape: Sequence[int]) -> tuple[Any, dict[str, Any]]:
    """Traces a network on one clip by shapes alone, without allocating anything.

    Args:
      model: any network.
      clip_shape: shape of the input, [T, H, W, C].

    Returns:
      The shape and type of the output, and a tree of those of the weights: the
      collections ``params`` and ``batch_stats``, empty where the network has none.
    """
    clips = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
    init = functools.partial(model.init_with_output, train=False)
    output, variables = jax.eval_shape(init, jax.random.key(0), clips)
    return output, {name: variables.get(name, {}) for name in ("params", "batch_stats")}


def weight_shapes(model: nn.Module, clip_shape: Sequence[int]) -> dict[str, Any]:
    """Returns a tree of the shapes and types of a network's weights; see ``trace``."""
    return trace(model, clip_shape)[1]


class EmptyLayerError(ValueError):
    """The input or the output of a layer has no values."""


def refuse_empty_layers() -> contextlib.AbstractContextManager:
    """Returns a context in which a layer without values raises ``EmptyLayerError``.

    Pooling of small clips can leave nothing. Some networks then have constant outputs.
    """

    def check(call, args, kwargs, context):
        path = "/".join(context.module.path) or "the network"

        def refuse_empty(values: Any, kind: str) -> None:
            for leaf in jax.tree.leaves(values):
                if 0 in (shape := getattr(leaf, "shape", ())):
                    raise EmptyLayerError(f"the {kind} of {path} is {list(shape)}")

        refuse_empty((args, kwargs), "input")
        try:
            output = call(*args, **kwargs)
        except ZeroDivisionError as error:  # initialisers divide by the inputs
            raise EmptyLayerError(f"a layer of {path} has no inputs") from error
        refuse_empty(output, "output")
        return output

    return nn.intercept_methods(check)


class Features(nn.Module):
    """Makes an intermediate result a layer, which saliency maps can explain."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns ``x``."""
        return x


_NORMS = nn.BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm
_DROPOUTS = nn.Dropout | Dropout


def layers(model: nn.Module, clip_shape: Sequence[int]) -> list[Layer]:
    """Returns the direct submodules of a network in the order of their first calls.

    Dropout is left out: it changes nothing in the evaluation.

    Args:
      model: any network.
      clip_shape: shape of the input, [T, H, W, C].
    """
    found: dict[str, Layer] = {}

    def note(call, args, kwargs, context):
        output = call(*args, **kwargs)
        module = context.module
        if isinstance(module, _DROPOUTS):
            return output
        if context.method_name == "__call__" and len(module.path) == 1:
            shape = getattr(output, "shape", ())
            (name,) = module.path
            found.setdefault(name, Layer(name, isinstance(module, _NORMS), shape))
        return output

    def run(key):
        with nn.intercept_methods(note):
            return model.init(key, jnp.zeros((1, *clip_shape)), train=False)

    jax.eval_shape(run, jax.random.key(0))
    return list(found.values())


def map_layers(model: nn.Module, clip_shape: Sequence[int]) -> list[str]:
    """Returns the layers whose output is a map over time and space, in order.

    Their outputs are [B, T, H, W, C] with more than one voxel. Normalisations are left
    out: they belong to the layer before them.
    """
    return [
        layer.name
        for layer in layers(model, clip_shape)
        if not layer.is_norm and len(layer.output) == 5 and max(layer.output[1:4]) > 1
    ]


# Positions of the values of a map in a clip: along T, H and W the position of the first
# value, and the distance of neighbours.
Grid = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


def find_grid(
    model: nn.Module, layer: str, map_size: Sequence[int], clip_size: Sequence[int]
) -> Grid:
    """Returns where the values of a layer's map are in the clip.

    A network can have a method ``grid``, which returns it for a layer and the size
    [T, H, W] of the clip. Otherwise the strides are assumed to be powers of two, and
    the padding symmetric: output i of a convolution of stride s is then centred at
    input s * i.

    Args:
      model: the network.
      layer: its layer.
      map_size: T', H' and W' of the map.
      clip_size: T, H and W of the clip.
    """
    if hasattr(model, "grid"):
        return model.grid(layer, clip_size)
    strides = (
        2.0 ** round(math.log2(length / current))
        for length, current in zip(clip_size, map_size, strict=True)
    )
    t, h, w = ((0.0, stride) for stride in strides)
    return t, h, w


def layer_groups(model: nn.Module, clip_shape: Sequence[int]) -> list[list[str]]:
    """Returns the layers in order, each with the normalisations that follow it."""
    groups: list[list[str]] = []
    for layer in layers(model, clip_shape):
        if layer.is_norm and groups:
            groups[-1].append(layer.name)
        else:
            groups.append([layer.name])
    return groups


def head_groups(
    make: Callable[[int], nn.Module], clip_shape: Sequence[int]
) -> frozenset[str]:
    """Returns the parameter groups whose shapes depend on the number of classes.

    A parameter group contains the parameters of a direct submodule.

    Args:
      make: makes the network for a number of classes.
      clip_shape: shape of the input, [T, H, W, C].
    """
    two, three = (
        weight_shapes(make(number), clip_shape)["params"] for number in (2, 3)
    )
    return frozenset(name for name in two if two[name] != three.get(name))


def find_groups(names: str | None, groups: Collection[str]) -> frozenset[str]:
    """Returns the parameter groups that ``--freeze`` names.

    Args:
      names: separated by commas. ``block1`` names the group ``block1`` and all groups
        whose names start with ``block1_``.
      groups: the parameter groups of the network.

    Raises:
      UserError: if a name is that of no group, or no group is left to train.
    """
    found = set()
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    if names is not None and not wanted:
        raise UserError(
            f"--freeze={names} names no layer. The layers are "
            f"{', '.join(sorted(groups))}."
        )
    for name in wanted:
        named = {g for g in groups if g == name or g.startswith(f"{name}_")}
        if not named:
            raise UserError(
                f"--freeze={names}: the network has no layer {name}. Its layers are "
                f"{', '.join(sorted(groups))}. The part of a name before an underscore "
                "names all of them that begin with it."
            )
        found |= named
    if found == set(groups):
        raise UserError(f"--freeze={names} freezes all layers. Leave some to train.")
    return frozenset(found)


def frozen_norms(groups: Collection[str]) -> contextlib.AbstractContextManager:
    """Returns a context in which some batch normalisations use running statistics.

    They then compute in training what they compute in the evaluation, and do not update
    their statistics.

    Args:
      groups: the parameter groups to which the normalisations belong.
    """

    def evaluate(call, args, kwargs, context):
        module = context.module
        is_norm = isinstance(module, nn.BatchNorm) and context.method_name == "__call__"
        if not (is_norm and module.path and module.path[0] in groups):
            return call(*args, **kwargs)
        fixed = module.clone(parent=None, use_running_average=True)
        kwargs.pop("use_running_average", None)
        return fixed.apply(module.variables, *args, **kwargs)

    return nn.intercept_methods(evaluate)
