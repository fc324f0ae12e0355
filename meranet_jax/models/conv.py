"""3-D convolution, in the form that is fastest on the platform.

On accelerators a 3-D convolution is XLA's own operation. On a CPU this is several times
slower than other forms (``convolution/lowerings.py``).

Shapes: inputs ``[B, T, H, W, C]``, kernels ``[kT, kH, kW, C, O]``.
"""

from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.convolution import lowerings, primitive, primitives
from meranet_jax.models.convolution.shapes import Options, Pads, Triple

Lowering = Literal["native", "onednn", "planes", "primitive"]
Padding = Literal["half", "valid"]


class Conv3D(nn.Module):
    """A 3-D convolution, by default with symmetric padding of ``k // 2``.

    XLA's ``SAME`` pads (0, 1) at stride 2, but the paper's backbone pads (1, 1): with
    ``SAME`` its weights would be shifted by one pixel.

    Attributes:
      features: number of output channels, O.
      kernel_size: size of the kernel along T, H and W.
      strides: strides along T, H and W.
      padding: ``"half"`` is ``k // 2`` on each side, ``"valid"`` none.
      use_bias: whether to add a bias, initialised to zero.
      kernel_init: initialiser of the kernel; Xavier uniform in the paper (section 4.3).
      lowering: form of the convolution on a CPU; None chooses the fastest that works.
        Accelerators use ``"primitive"``, XLA's own, whatever it is.
      dtype: dtype of the computation; None keeps that of input and parameters.
      param_dtype: dtype of the parameters.
    """

    features: int
    kernel_size: Triple
    strides: Triple = (1, 1, 1)
    padding: Padding = "half"
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    lowering: Lowering | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the convolution: [B, T, H, W, C] -> [B, T', H', W', O]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            init = nn.initializers.zeros_init()
            bias = self.param("bias", init, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = conv3d(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            lowering=self.lowering,
        )
        return y if bias is None else y + bias


def conv3d(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Triple = (1, 1, 1),
    padding: Padding = "half",
    lowering: Lowering | None = None,
) -> jax.Array:
    """Convolves ``x`` with ``kernel``.

    Args:
      x: [B, T, H, W, C].
      kernel: [kT, kH, kW, C, O].
      strides: along T, H, W.
      padding: see ``Conv3D``.
      lowering: see ``Conv3D``.

    Returns:
      [B, T', H', W', O], with T' = (T + 2 p - kT) // strides[0] + 1, where the padding
      p is kT // 2 or 0, and likewise for H' and W'.

    Raises:
      ValueError: if ``lowering`` is unknown, or input and kernel do not fit.
      TypeError: if the dtypes of input and kernel differ.
    """
    half = padding == "half"
    pads = cast(Pads, tuple((k // 2 * half,) * 2 for k in kernel.shape[:3]))
    strides = cast(Triple, tuple(strides))
    if lowering is not None:
        lowerings.find(lowering)
    if lowering == "primitive":
        return primitive.convolution(x, kernel, Options(strides, pads))
    return primitives.convolution(x, kernel, strides, pads, lowering)
