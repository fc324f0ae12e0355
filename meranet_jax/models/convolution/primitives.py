"""JAX primitives of the 3-D convolution and of its two gradients.

All three are bilinear, and the derivatives of each are the other two:

    <g, convolution(x, k)> = <input_gradient(g, k), x> = <kernel_gradient(x, g), k>

A primitive is lowered for the platform of the program, whatever the backend of the
process is: a step that is exported on a CPU for a GPU holds plain convolutions. On a
CPU ``lowerings`` chooses the form.

Shapes: inputs ``[B, T, H, W, C]``, kernels ``[kT, kH, kW, C, O]``, gradients by the
output ``[B, T', H', W', O]``.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from meranet_jax.models.convolution import lowerings, threads
from meranet_jax.models.convolution.shapes import Options, Pads, Triple, output_size


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    strides: Triple,
    pads: Pads,
    lowering: str | None = None,
) -> jax.Array:
    """Convolves ``x`` with ``kernel``.

    Args:
      x: [B, T, H, W, C].
      kernel: [kT, kH, kW, C, O].
      strides: along T, H and W.
      pads: number of zeros before and after each of T, H and W.
      lowering: form on a CPU, see ``lowerings.choose``; None chooses the best.

    Returns:
      [B, T', H', W', O].

    Raises:
      ValueError: if input and kernel do not fit.
      TypeError: if their dtypes differ.
    """
    options = Options(
        strides,
        pads,
        # Both as they are when the function is traced, like those of other operations
        precision=jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined]
        threads=threads.current(),
    )
    return _convolution.bind(x, kernel, options=options, lowering=lowering)


_convolution = Primitive("convolution3d")
_input_gradient = Primitive("convolution3d_input_gradient")
_kernel_gradient = Primitive("convolution3d_kernel_gradient")


# Shapes


@_convolution.def_abstract_eval
def _output(x, kernel, *, options, **_):
    if x.ndim != 5 or kernel.ndim != 5 or x.shape[4] != kernel.shape[3]:
        raise ValueError(
            f"an input of {x.shape} and a kernel of {kernel.shape} do not fit: "
            "expected [B, T, H, W, C] and [kT, kH, kW, C, O]"
        )
    if x.dtype != kernel.dtype:
        raise TypeError(f"the input is {x.dtype}, the kernel {kernel.dtype}")
    np.array(x.shape, np.int64)  # raises if XLA cannot represent a size
    size = output_size(x.shape[1:4], kernel.shape[:3], options.strides, options.pads)
    return ShapedArray((x.shape[0], *size, kernel.shape[4]), x.dtype)


@_input_gradient.def_abstract_eval
def _gradient_of_input(gradient, kernel, *, size, **_):
    return ShapedArray((gradient.shape[0], *size, kernel.shape[3]), gradient.dtype)


@_kernel_gradient.def_abstract_eval
def _gradient_of_kernel(x, gradient, *, kernel_size, **_):
    return ShapedArray((*kernel_size, x.shape[4], gradient.shape[4]), x.dtype)


# Derivatives: cotangent, then the arguments, of which that of the derivative is
# unknown but for its shape

ad.defbilinear(
    _convolution,
    lambda ct, x, kernel, **params: _input_gradient.bind(
        ct, kernel, size=x.aval.shape[1:4], **params
    ),
    lambda ct, x, kernel, **params: _kernel_gradient.bind(
        x, ct, kernel_size=kernel.aval.shape[:3], **params
    ),
)
ad.defbilinear(
    _input_gradient,
    lambda ct, gradient, kernel, size, **params: _convolution.bind(
        ct, kernel, **params
    ),
    lambda ct, gradient, kernel, size, **params: _kernel_gradient.bind(
        ct, gradient, kernel_size=kernel.aval.shape[:3], **params
    ),
)
ad.defbilinear(
    _kernel_gradient,
    lambda ct, x, gradient, kernel_size, **params: _input_gradient.bind(
        gradient, ct, size=x.aval.shape[1:4], **params
    ),
    lambda ct, x, gradient, kernel_size, **params: _convolution.bind(x, ct, **params),
)


# vmap: over clips alone they become a larger batch, otherwise it is a loop


def _register_batching(primitive: Primitive, *, over_clips: bool) -> None:
    def rule(arguments, axes, **params):
        # An axis is None if the argument is not mapped.
        size = next(
            argument.shape[axis]
            for argument, axis in zip(arguments, axes, strict=True)
            if axis is not None
        )
        first, second = (
            batching.bdim_at_front(argument, axis, size)
            for argument, axis in zip(arguments, axes, strict=True)
        )
        if over_clips and axes[1] is None:
            clips = first.reshape(-1, *first.shape[2:])
            y = primitive.bind(clips, arguments[1], **params)
            return y.reshape(*first.shape[:2], *y.shape[1:]), 0
        pairs = (first, second)
        return lax.map(lambda pair: primitive.bind(*pair, **params), pairs), 0

    batching.primitive_batchers[primitive] = rule


_register_batching(_convolution, over_clips=True)
_register_batching(_input_gradient, over_clips=True)
_register_batching(_kernel_gradient, over_clips=False)


# Lowerings


def _register_lowering(primitive: Primitive, name: str) -> None:
    """Registers the function of this name of each form."""

    def rule_of(choose: Callable[..., str]) -> Callable:
        def compute(a, b, *, options, lowering, **size):
            form = lowerings.find(choose(lowering, a.dtype))
            return getattr(form, name)(a, b, options, **size)

        return mlir.lower_fun(compute, multiple_results=False)

    on_this_cpu = rule_of(lowerings.choose_or_check)
    # JAX exports no calls of functions that another machine may lack.
    on_any_cpu = rule_of(lambda lowering, dtype: lowering or "planes")

    def on_a_cpu(context, *arrays, **params):
        exports = context.module_context.lowering_parameters.for_export
        rule = on_any_cpu if exports else on_this_cpu
        return rule(context, *arrays, **params)

    mlir.register_lowering(primitive, rule_of(lambda lowering, dtype: "primitive"))
    mlir.register_lowering(primitive, on_a_cpu, platform="cpu")

    @functools.cache
    def compiled(**params: Any) -> Callable[..., jax.Array]:
        return jax.jit(functools.partial(primitive.bind, **params))

    primitive.def_impl(lambda *arrays, **params: compiled(**params)(*arrays))


_register_lowering(_convolution, "convolution")
_register_lowering(_input_gradient, "input_gradient")
_register_lowering(_kernel_gradient, "kernel_gradient")
