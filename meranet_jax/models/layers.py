"""Layers of a network, found by tracing it, for tables and saliency maps."""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

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


_NORMS = nn.BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm


def layers(model: nn.Module, clip_shape: Sequence[int]) -> list[Layer]:
    """Returns the direct submodules of a network in the order of their first calls.

    Args:
      model: any network.
      clip_shape: shape of the input, [T, H, W, C].
    """
    found: dict[str, Layer] = {}

    def note(call, args, kwargs, context):
        output = call(*args, **kwargs)
        module = context.module
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


def layer_groups(model: nn.Module, clip_shape: Sequence[int]) -> list[list[str]]:
    """Returns the layers in order, each with the normalisations that follow it."""
    groups: list[list[str]] = []
    for layer in layers(model, clip_shape):
        if layer.is_norm and groups:
            groups[-1].append(layer.name)
        else:
            groups.append([layer.name])
    return groups
