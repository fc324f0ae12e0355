"""3-D convolution as XLA's own operation, which is the fastest form on accelerators."""

import jax
from jax import lax

from meranet_jax.models.convolution.shapes import Pads, Triple


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Triple,
    pads: Pads,
    precision: str | None = None,
    threads: int | None = None,
) -> jax.Array:
    """See ``lowerings.Form``."""
    del threads
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=precision,
    )


def input_gradient(
    gradient: jax.Array,
    kernel: jax.Array,
    *,
    size: Triple,
    strides: Triple,
    pads: Pads,
    precision: str | None = None,
    threads: int | None = None,
) -> jax.Array:
    """See ``lowerings.Form``."""
    del threads
    shape = (gradient.shape[0], *size, kernel.shape[3])
    transpose = jax.linear_transpose(
        lambda x: convolution(
            x, kernel, strides=strides, pads=pads, precision=precision
        ),
        jax.ShapeDtypeStruct(shape, gradient.dtype),
    )
    return transpose(gradient)[0]


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    *,
    kernel_size: Triple,
    strides: Triple,
    pads: Pads,
    precision: str | None = None,
    threads: int | None = None,
) -> jax.Array:
    """See ``lowerings.Form``."""
    del threads
    shape = (*kernel_size, x.shape[4], gradient.shape[4])
    transpose = jax.linear_transpose(
        lambda kernel: convolution(
            x, kernel, strides=strides, pads=pads, precision=precision
        ),
        jax.ShapeDtypeStruct(shape, x.dtype),
    )
    return transpose(gradient)[0]
