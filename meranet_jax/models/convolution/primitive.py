"""3-D convolution as XLA's own operation, which is the fastest form on accelerators."""

import jax
from jax import lax

from meranet_jax.models.convolution.shapes import Options, Triple


def convolution(x: jax.Array, kernel: jax.Array, options: Options) -> jax.Array:
    """See ``lowerings.Form``."""
    return lax.conv_general_dilated(
        x,
        kernel,
        options.strides,
        options.pads,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=options.precision,
    )


def input_gradient(
    gradient: jax.Array, kernel: jax.Array, options: Options, *, size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    shape = (gradient.shape[0], *size, kernel.shape[3])
    transpose = jax.linear_transpose(
        lambda x: convolution(x, kernel, options),
        jax.ShapeDtypeStruct(shape, gradient.dtype),
    )
    return transpose(gradient)[0]


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, options: Options, *, kernel_size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    shape = (*kernel_size, x.shape[4], gradient.shape[4])
    transpose = jax.linear_transpose(
        lambda kernel: convolution(x, kernel, options),
        jax.ShapeDtypeStruct(shape, x.dtype),
    )
    return transpose(gradient)[0]
