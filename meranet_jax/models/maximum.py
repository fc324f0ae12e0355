"""The maximum over an axis, with a correct gradient.

Under ``jit`` on XLA's CPU backend the gradient of ``x.max()`` can be wrong. See
``docs/gradients.md``.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum(x: jax.Array, axis: int) -> jax.Array:
    """Computes ``x.max(axis, keepdims=True)``; the first maximum has the gradient."""
    return x.max(axis, keepdims=True)


def _maximum_forward(x, axis):
    # Computing the value separately is cheap compared with the index, and exact.
    return maximum(x, axis), (argmax(x, axis), x.shape)


def argmax(x: jax.Array, axis: int) -> jax.Array:
    """Computes ``x.argmax(axis, keepdims=True)`` in a form that is fast on the backend.

    On XLA's CPU backend an argmax takes up to 30 times as long as a maximum. There the
    maximum of each block is computed first, then the argmax over the blocks and inside
    one block.
    """
    return lax.platform_dependent(
        x,
        cpu=functools.partial(_argmax_by_blocks, axis=axis),
        default=lambda x: x.argmax(axis, keepdims=True),
    )


def _argmax_by_blocks(x: jax.Array, axis: int) -> jax.Array:
    size = _root_divisor(x.shape[axis])
    blocks = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    block = blocks.max(axis + 1, keepdims=True).argmax(axis, keepdims=True)
    inside = jnp.take_along_axis(blocks, block, axis, mode="promise_in_bounds")
    index = block * size + inside.argmax(axis + 1, keepdims=True)
    return index.squeeze(axis)


def _root_divisor(length: int) -> int:
    """Returns the largest divisor of ``length`` that is at most its square root."""
    return next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)


def _maximum_backward(axis, residuals, gradient):
    index, shape = residuals
    is_maximum = lax.broadcasted_iota(index.dtype, shape, axis) == index
    return (jnp.where(is_maximum, gradient, 0),)


maximum.defvjp(_maximum_forward, _maximum_backward)
