"""3-D convolutions for XLA's CPU backend: sums of 2-D convolutions, matrix products.

The form of a layer depends on its size. All forms and their gradients are equal up to
rounding (``tests/meranet_jax/models/test_conv.py``); docs/performance.md lists the
variants that were measured.

Shapes: inputs ``[B, T, H, W, C]``, kernels ``[kT, kH, kW, C, O]``.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax

from meranet_jax.models.convolution.shapes import Options, Pads, Triple, output_size

# Sizes at which one form becomes faster than another, measured on two cores of an AMD
# EPYC.
_FEW_ROWS = 512  # maximum number of output voxels for explicit patches
_ROWS = 2048  # voxels in one product of the kernel's gradient, unless a single plane
# With fewer input channels and at least so many output channels the taps along T are
# joined to the input channels, otherwise to the output channels.
_FEW_INPUTS = 16
_MANY_FEATURES = 64
_CACHED_BYTES = 16 << 20  # maximum size of a sample's shifted copies
_FEW_CHANNELS = 4  # maximum C * O for a banded matrix, as in the attention map (2 to 1)


def convolution(x: jax.Array, kernel: jax.Array, options: Options) -> jax.Array:
    """See ``lowerings.Form``."""
    simple = _simple_form(kernel.shape, options)
    if simple:
        return simple(x, kernel)
    return _forward(x, kernel, options.strides, options.pads)


def input_gradient(
    gradient: jax.Array,
    kernel: jax.Array,
    options: Options,
    *,
    size: Triple,
    forward: Callable[..., jax.Array] | None = None,
) -> jax.Array:
    """See ``lowerings.Form``.

    ``forward`` computes the convolutions at stride 1 that the gradient consists of,
    from input, kernel, strides and padding.
    """
    shape = (gradient.shape[0], *size, kernel.shape[3])
    simple = _simple_form(kernel.shape, options)
    if simple:
        like = jax.ShapeDtypeStruct(shape, gradient.dtype)
        return jax.linear_transpose(lambda x: simple(x, kernel), like)(gradient)[0]
    forward = forward or _forward
    return _input_gradient(
        gradient, kernel, shape, options.strides, options.pads, forward
    )


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, options: Options, *, kernel_size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    shape = (*kernel_size, x.shape[4], gradient.shape[4])
    simple = _simple_form(shape, options)
    if simple:
        like = jax.ShapeDtypeStruct(shape, x.dtype)
        return jax.linear_transpose(lambda kernel: simple(x, kernel), like)(gradient)[0]
    total = _kernel_gradient(x, gradient, kernel_size, options.strides, options.pads)
    return total.astype(x.dtype)


def has_simple_form(kernel_shape: Sequence[int], options: Options) -> bool:
    """Returns whether a layer is pointwise, or has few channels.

    Args:
      kernel_shape: [kT, kH, kW, C, O].
      options: the convolution's.
    """
    return _simple_form(kernel_shape, options) is not None


def _simple_form(kernel_shape: Sequence[int], options: Options):
    """Returns the form of a layer whose gradients are the transposes of this form.

    Returns None for the other layers.
    """
    strides, pads = options.strides, options.pads
    if tuple(kernel_shape[:3]) == (1, 1, 1):
        return functools.partial(_pointwise, strides=strides, pads=pads)
    few = kernel_shape[3] * kernel_shape[4] <= _FEW_CHANNELS
    as_wide = sum(pads[2]) == kernel_shape[2] - 1  # the output as the input
    if few and strides == (1, 1, 1) and as_wide:
        return functools.partial(_banded, pads=pads)
    return None


def _forward(x: jax.Array, kernel: jax.Array, strides: Triple, pads: Pads) -> jax.Array:
    outputs = output_size(x.shape[1:4], kernel.shape[:3], strides, pads)
    channels, features = kernel.shape[3:]
    if strides == (1, 1, 1) and x.shape[0] * math.prod(outputs) <= _FEW_ROWS:
        patches = _patches(x, kernel.shape[:3], strides, pads)
        return patches @ kernel.reshape(-1, features)
    if strides[0] > 1:
        return _sum_of_planes(x, kernel, strides, pads, outputs[0])
    if channels < _FEW_INPUTS and features >= _MANY_FEATURES:
        return _joined_planes(x, kernel, strides, pads, outputs[0])
    return _folded_planes(x, kernel, strides, pads, outputs[0])


def _sum_of_planes(x, kernel, strides, pads, depth) -> jax.Array:
    """Adds one 2-D convolution for each tap along T, of the planes under this tap."""
    total: Any = 0
    for tap, x_tap in enumerate(_tap_planes(x, kernel.shape[0], strides, pads, depth)):
        planes = x_tap.reshape(-1, *x.shape[2:])  # [B * T', H, W, C]
        total += _conv2d(planes, kernel[tap], strides[1:], pads[1:])
    return total.reshape(x.shape[0], depth, *total.shape[1:])


def _joined_planes(x, kernel, strides, pads, depth) -> jax.Array:
    """One 2-D convolution, with the planes under all taps along T as channels."""
    taps, height, width, channels, features = kernel.shape
    joined = jnp.concatenate(_tap_planes(x, taps, strides, pads, depth), -1)
    planes = joined.reshape(-1, *joined.shape[2:])  # [B * T', H, W, kT * C]
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, -1, features)
    y = _conv2d(planes, kernel, strides[1:], pads[1:])
    return y.reshape(x.shape[0], depth, *y.shape[1:])


def _folded_planes(x, kernel, strides, pads, depth) -> jax.Array:
    """One 2-D convolution for all taps along T, whose outputs are shifted and added."""
    taps, height, width, channels, features = kernel.shape
    planes = x.reshape(-1, *x.shape[2:])  # [B * T, H, W, C]
    kernel = kernel.transpose(1, 2, 3, 0, 4).reshape(height, width, channels, -1)
    y = _conv2d(planes, kernel, strides[1:], pads[1:])
    y = y.reshape(*x.shape[:2], *y.shape[1:3], taps, features)
    shifted = (_window(y[..., t, :], t - pads[0][0], depth) for t in range(taps))
    return cast(jax.Array, sum(shifted))


def _tap_planes(x, taps, strides, pads, depth) -> list[jax.Array]:
    """Returns for each tap along T the planes under it, [B, T', H, W, C]."""
    x = jnp.pad(x, ((0, 0), pads[0], (0, 0), (0, 0), (0, 0)))
    reach = (depth - 1) * strides[0] + 1
    return [x[:, tap : tap + reach : strides[0]] for tap in range(taps)]


def _input_gradient(
    gradient: jax.Array,
    kernel: jax.Array,
    shape: Sequence[int],
    strides: Triple,
    pads: Pads,
    forward: Callable[..., jax.Array],
) -> jax.Array:
    """Computes the gradient by the input: a convolution with the flipped kernel.

    With strides s only every s-th tap reaches every s-th voxel of the input. Each such
    phase is a separate convolution at stride 1, so that nothing is dilated.
    """
    if math.prod(gradient.shape[:4]) <= _FEW_ROWS:  # the transpose of taking patches
        products = gradient @ kernel.reshape(-1, kernel.shape[-1]).T
        patches = functools.partial(
            _patches, kernel_size=kernel.shape[:3], strides=strides, pads=pads
        )
        like = jax.ShapeDtypeStruct(tuple(shape), gradient.dtype)
        return jax.linear_transpose(patches, like)(products)[0]

    transposed = kernel.swapaxes(3, 4)
    phases = [
        _phase(gradient, transposed, shape, strides, pads, start, forward)
        for start in itertools.product(*map(range, strides))
    ]
    if len(phases) == 1:
        return phases[0]
    # [B, t, h, w, C] each -> [B, t, st, h, sh, w, sw, C]
    x = jnp.stack(phases, 4).reshape(*phases[0].shape[:4], *strides, -1)
    x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    sizes = (n * s for n, s in zip(phases[0].shape[1:4], strides, strict=True))
    t, h, w = shape[1:4]
    return x.reshape(shape[0], *sizes, -1)[:, :t, :h, :w]


def _phase(gradient, transposed, shape, strides, pads, start, forward) -> jax.Array:
    """Computes the gradient by every s-th input voxel from ``start``, ceil(n / s)."""
    taps, crop, around = [], [], []
    sizes = zip(
        shape[1:4],
        gradient.shape[1:4],
        transposed.shape[:3],
        strides,
        pads,
        start,
        strict=True,
    )
    for n, m, k, s, (lo, _), first in sizes:
        # Voxel s * q + first is under tap + s * u at output q + ahead - u.
        ahead, tap = divmod(first + lo, s)
        met = range(tap, k, s)
        taps.append(slice(tap, None, s))
        before, after = len(met) - 1 - ahead, -(-n // s) - m + ahead
        crop.append((min(before, 0), min(after, 0), 0))
        around.append((max(before, 0), max(after, 0)))
    kernel = transposed[tuple(taps)][::-1, ::-1, ::-1]
    if not kernel.size:
        empty = (-(-n // s) for n, s in zip(shape[1:4], strides, strict=True))
        return jnp.zeros((shape[0], *empty, shape[4]), gradient.dtype)
    zero = jnp.zeros((), gradient.dtype)
    gradient = lax.pad(gradient, zero, ((0, 0, 0), *crop, (0, 0, 0)))
    return forward(gradient, kernel, (1, 1, 1), cast(Pads, tuple(around)))


def _kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    kernel_size: Triple,
    strides: Triple,
    pads: Pads,
) -> jax.Array:
    """Computes the gradient by the kernel as matrix products of shifted copies.

    The taps are divided between the two factors, so that neither is copied for each
    tap, and the products are small enough for the cache.
    """
    kt, kh, kw = kernel_size
    channels, features = x.shape[-1], gradient.shape[-1]
    samples, depth, height, width, _ = gradient.shape
    if samples * depth * height * width <= _FEW_ROWS:
        patches = _patches(x, kernel_size, strides, pads)
        patches = patches.reshape(-1, patches.shape[-1])
        total = _product(patches, gradient.reshape(-1, features))
        return total.reshape(*kernel_size, channels, features)

    if strides[0] > 1:  # the planes under all taps along T as channels
        x = jnp.concatenate(_tap_planes(x, kt, strides, pads, depth), -1)
        strides, pads = (1, *strides[1:]), ((0, 0), *pads[1:])
        total = _kernel_gradient(x, gradient, (1, kh, kw), strides, pads)
        total = total.reshape(kh, kw, kt, channels, features)
        return total.transpose(2, 0, 1, 3, 4)

    rows = x.shape[1] * height * width  # in a sample
    columns = kw * channels + kt * kh * features
    copies = rows * columns * x.dtype.itemsize
    if strides == (1, 1, 1) and rows > _ROWS and copies <= _CACHED_BYTES:
        return _kernel_gradient_by_rows(x, gradient, kernel_size, pads)

    # Taps along H and W on the input, along T on the gradient; for a plane, a sample or
    # the batch at a time.
    x = jnp.pad(x, ((0, 0), (0, 0), *pads[1:], (0, 0)))
    around = tuple(kt - 1 - pad for pad in pads[0])
    gradient = jnp.pad(gradient, ((0, 0), around, (0, 0), (0, 0), (0, 0)))
    planes = x.shape[1] if rows <= _ROWS else 1

    def product(x, gradient):
        """[..., t, H, W, C], [..., t + kT - 1, H', W', O] -> [kH * kW * C, kT * O]."""
        t = x.shape[-4]
        left = _shifted(x, (1, kh, kw), strides, (t, height, width))
        slices = [
            lax.slice_in_dim(gradient, tap, tap + t, axis=gradient.ndim - 4)
            for tap in reversed(range(kt))
        ]
        right = jnp.concatenate(slices, -1)
        left, right = (a.reshape(-1, a.shape[-1]) for a in (left, right))
        return _product(left, right)

    def add_planes(total, index):
        sample, t = jnp.divmod(index * planes, x.shape[1])
        x_planes = lax.dynamic_slice_in_dim(x[sample], t, planes)
        y_planes = lax.dynamic_slice_in_dim(gradient[sample], t, planes + kt - 1)
        return total + product(x_planes, y_planes), None

    if samples * rows <= _ROWS:
        total = product(x, gradient)
    else:
        zero = jnp.zeros((kh * kw * channels, kt * features), _sum_dtype(x))
        indices = jnp.arange(samples * x.shape[1] // planes)
        total, _ = lax.scan(add_planes, zero, indices)
    total = total.reshape(kh, kw, channels, kt, features)
    return total.transpose(3, 0, 1, 2, 4)


def _kernel_gradient_by_rows(x, gradient, kernel_size, pads) -> jax.Array:
    """A sample at a time: taps along W on the input, along T and H on the gradient."""
    kt, kh, kw = kernel_size
    channels, features = x.shape[-1], gradient.shape[-1]
    width = gradient.shape[3]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))

    def add_sample(total, sample):
        x, gradient = sample
        left = jnp.concatenate([x[:, :, k : k + width] for k in range(kw)], -1)
        right = jnp.concatenate(
            [
                jnp.pad(gradient, ((i, kt - 1 - i), (j, kh - 1 - j), (0, 0), (0, 0)))
                for i in range(kt)
                for j in range(kh)
            ],
            -1,
        )
        left, right = (a.reshape(-1, a.shape[-1]) for a in (left, right))
        return total + _product(left, right), None

    zero = jnp.zeros((kw * channels, kt * kh * features), _sum_dtype(x))
    total, _ = lax.scan(add_sample, zero, (x, gradient))
    total = total.reshape(kw, channels, kt, kh, features)
    return total.transpose(2, 3, 0, 1, 4)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """[N, C], [N, O] -> [C, O], with the sum over N in float32 at least."""
    return jnp.matmul(left.T, right, preferred_element_type=_sum_dtype(left))


def _sum_dtype(x: jax.Array):
    return jnp.promote_types(x.dtype, jnp.float32)


def _banded(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolves with W and C joined as channels and taps along W as a banded matrix.

    With few channels a convolution moves more data than it multiplies. This form is one
    2-D convolution over (T, H), whose channels fill the vector registers.
    """
    width, (kt, kh, kw, channels, features) = x.shape[3], kernel.shape
    tap = jnp.arange(width)[:, None] - jnp.arange(width) + pads[2][0]  # [W in, W out]
    inside = (tap >= 0) & (tap < kw)
    band = kernel[:, :, jnp.clip(tap, 0, kw - 1)]  # [kT, kH, W, W, C, O]
    band = jnp.where(inside[:, :, None, None], band, 0)
    band = band.transpose(0, 1, 2, 4, 3, 5)
    band = band.reshape(kt, kh, width * channels, width * features)
    y = _conv2d(x.reshape(*x.shape[:3], -1), band, (1, 1), pads[:2])
    return y.reshape(*y.shape[:3], width, features)


def _conv2d(x, kernel, strides, pads) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _patches(
    x: jax.Array, kernel_size: Sequence[int], strides: Triple, pads: Pads
) -> jax.Array:
    """Extracts patches: [B, T, H, W, C] -> [B, T', H', W', kT * kH * kW * C]."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    sizes = zip(x.shape[1:4], kernel_size, strides, strict=True)
    return _shifted(x, kernel_size, strides, [(n - k) // s + 1 for n, k, s in sizes])


def _shifted(
    x: jax.Array, kernel_size: Sequence[int], strides: Triple, outputs: Sequence[int]
) -> jax.Array:
    """Stacks the voxels under each tap: [..., T, H, W, C] -> [..., T', H', W', -1]."""
    copies = []
    for taps in itertools.product(*map(range, kernel_size)):
        voxels = tuple(
            slice(tap, tap + (n - 1) * s + 1, s)
            for tap, n, s in zip(taps, outputs, strides, strict=True)
        )
        copies.append(x[(..., *voxels, slice(None))])
    return jnp.concatenate(copies, -1)


def _pointwise(
    x: jax.Array, kernel: jax.Array, strides: Triple, pads: Pads
) -> jax.Array:
    st, sh, sw = strides
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    return x[:, ::st, ::sh, ::sw] @ kernel[0, 0, 0]


def _window(x: jax.Array, start: int, length: int) -> jax.Array:
    """Returns ``x[:, start:start + length]``, padded with zeros outside of ``x``."""
    stop = start + length
    inside = x[:, max(start, 0) : min(stop, x.shape[1])]
    outside = (max(-start, 0), max(stop - x.shape[1], 0))
    return jnp.pad(inside, ((0, 0), outside, *((0, 0),) * (x.ndim - 2)))
