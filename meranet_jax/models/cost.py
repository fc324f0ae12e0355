"""Counts of the operations and parameters of a network, from its jaxpr.

Only convolutions and matrix products are counted. A multiplication and its addition are
two operations, and zeros of the padding count like other numbers. Published numbers are
counted in the same way: the 3D ResNet-18 at 16 x 112 x 112 with 400 classes has
torchvision's 40.7 billion multiply-adds. Pooling, normalisation and activations are not
counted.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.layers import weight_shapes


@dataclasses.dataclass(frozen=True)
class Cost:
    """Counts of the operations of a traced function.

    Attributes:
      operations: number of multiplications and additions in convolutions and matrix
        products.
      outputs: number of values that these write.
    """

    operations: int
    outputs: int


def forward(model: nn.Module, clip_shape: Sequence[int]) -> Cost:
    """Counts the operations of a forward pass of one clip.

    Args:
      model: any network. Convolutions by ``Conv3D`` count as such, whatever the form
        in which a CPU computes them.
      clip_shape: shape of the input, [T, H, W, C].
    """
    clips = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
    apply = functools.partial(model.apply, train=False)
    return count(apply, weight_shapes(model, clip_shape), clips)


def parameters(model: nn.Module, clip_shape: Sequence[int]) -> int:
    """Returns the number of trainable parameters."""
    return size(weight_shapes(model, clip_shape)["params"])


def size(tree: Any) -> int:
    """Returns the number of elements in a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def count(function, *arguments) -> Cost:
    """Traces a function and counts its operations; arguments may be shapes."""
    costs = list(_costs(jax.make_jaxpr(function)(*arguments).jaxpr))
    return Cost(sum(c.operations for c in costs), sum(c.outputs for c in costs))


def _costs(jaxpr) -> Iterator[Cost]:
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            outputs = math.prod(equation.outvars[0].aval.shape)
            features = kernel.shape[parameters["dimension_numbers"].rhs_spec[0]]
            yield Cost(2 * outputs * math.prod(kernel.shape) // features, outputs)
        elif name == "convolution3d":  # models/convolution/primitives.py
            kernel = equation.invars[1].aval
            outputs = math.prod(equation.outvars[0].aval.shape)
            terms = math.prod(kernel.shape[:-1])
            yield Cost(2 * outputs * terms, outputs)
        elif name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            outputs = math.prod(equation.outvars[0].aval.shape)
            terms = math.prod(shape[axis] for axis in contracted)
            yield Cost(2 * outputs * terms, outputs)
        else:
            times = parameters["length"] if name == "scan" else 1
            for inner in _inner_jaxprs(parameters.values()):
                for cost in _costs(inner):
                    yield Cost(times * cost.operations, times * cost.outputs)


def _inner_jaxprs(parameters) -> Iterator:
    """Yields the jaxprs of loops, branches and calls in an equation's parameters.

    All branches of a condition are counted.
    """
    for parameter in parameters:
        if isinstance(parameter, tuple | list):
            yield from _inner_jaxprs(parameter)
        elif hasattr(parameter, "eqns"):
            yield parameter
        elif hasattr(parameter, "jaxpr"):
            yield parameter.jaxpr
