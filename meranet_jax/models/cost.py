"""Counts what a network computes, from its jaxpr.

Convolutions and matrix products are counted, two operations for a multiplication and
its addition, and the zeros of the padding as if they were numbers. That is how
published figures count: the 3D ResNet-18 at 16 x 112 x 112 with 400 classes has
torchvision's 40.7 billion multiply-adds. Pooling, normalisation and activations are
left out.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a traced function computes.

    Attributes:
      operations: multiplications and additions of its convolutions and products.
      outputs: numbers that these write.
    """

    operations: int
    outputs: int


def forward(model: nn.Module, clip_shape: Sequence[int]) -> Cost:
    """Counts a forward pass of one clip.

    Args:
      model: of any network. Where it has a ``lowering``, convolutions are counted as
        the primitive, not in the form that suits this backend.
      clip_shape: of the input, [T, H, W, C].
    """
    if "lowering" in {field.name for field in dataclasses.fields(model)}:
        model = model.clone(lowering="primitive")
    clips = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
    apply = functools.partial(model.apply, train=False)
    return count(apply, variable_shapes(model, clip_shape), clips)


def variable_shapes(model: nn.Module, clip_shape: Sequence[int]) -> dict[str, Any]:
    """Returns the shapes and types of a network's variables, by collection."""
    clips = jnp.zeros((1, *clip_shape))
    return jax.eval_shape(
        lambda key: model.init(key, clips, train=False), jax.random.key(0)
    )


def parameters(model: nn.Module, clip_shape: Sequence[int]) -> int:
    """Counts the numbers that are trained."""
    return size(variable_shapes(model, clip_shape)["params"])


def size(tree: Any) -> int:
    """Counts the numbers in a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def count(function, *arguments) -> Cost:
    """Traces a function and counts what it computes; arguments may be shapes."""
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
    """The jaxprs of loops, branches and calls among an equation's parameters.

    Each branch of a condition is counted.
    """
    for parameter in parameters:
        if isinstance(parameter, tuple | list):
            yield from _inner_jaxprs(parameter)
        elif hasattr(parameter, "eqns"):
            yield parameter
        elif hasattr(parameter, "jaxpr"):
            yield parameter.jaxpr
