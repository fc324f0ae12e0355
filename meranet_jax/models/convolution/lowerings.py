"""Choice of the form in which a CPU computes 3-D convolutions.

XLA's own 3-D convolution is several times slower on a CPU than oneDNN's. The forms,
best first:

- ``native``: the extension in ``native/``, which calls oneDNN through ``jax.ffi``;
- ``onednn``: the oneDNN inside jaxlib, forward and for the gradient by the input;
- ``planes``: sums of 2-D convolutions and matrix products, in plain JAX;
- ``primitive``: XLA's own 3-D convolution. Programs for accelerators always use it.

The first form is used that computes a small convolution and its gradients as
``primitive`` does. This is tried once for each dtype in a process. ``onednn`` is used
only where it is named: XLA fails to serialise a program that holds it (std::bad_alloc
in jaxlib 0.10.2 and 0.12.0.1), so that each process would compile such a program anew.
"""

import functools
import importlib
import logging
import os
from typing import Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.models.convolution.shapes import Pads, Triple

_log = logging.getLogger(__name__)

# Modules of the forms, best first.
_MODULES = {
    "native": "native",
    "onednn": "jaxlib_onednn",
    "planes": "planes",
    "primitive": "primitive",
}
NAMES = tuple(_MODULES)
_AUTOMATIC = ("native", "planes", "primitive")
_DTYPES = {"native": ("float32", "bfloat16"), "onednn": ("float32",)}

# Environment variable that names a form, for benchmarks and to repeat older results.
VARIABLE = "MERANET_CONVOLUTION"


class Form(Protocol):
    """A form of the 3-D convolution.

    Shapes: inputs ``[B, T, H, W, C]``, kernels ``[kT, kH, kW, C, O]``, outputs and
    their gradients ``[B, T', H', W', O]``. Results have the dtype of the arguments.
    ``precision`` is that of ``jax.lax.conv_general_dilated``, for accelerators;
    ``threads`` is the number of threads on each device, which ``native`` alone sets.
    """

    def convolution(
        self,
        x: jax.Array,
        kernel: jax.Array,
        *,
        strides: Triple,
        pads: Pads,
        precision: str | None = None,
        threads: int | None = None,
    ) -> jax.Array:
        """Convolves ``x`` with ``kernel``."""

    def input_gradient(
        self,
        gradient: jax.Array,
        kernel: jax.Array,
        *,
        size: Triple,
        strides: Triple,
        pads: Pads,
        precision: str | None = None,
        threads: int | None = None,
    ) -> jax.Array:
        """Computes the gradient by an input of ``size``, the transpose by ``x``."""

    def kernel_gradient(
        self,
        x: jax.Array,
        gradient: jax.Array,
        *,
        kernel_size: Triple,
        strides: Triple,
        pads: Pads,
        precision: str | None = None,
        threads: int | None = None,
    ) -> jax.Array:
        """Computes the gradient by the kernel, the transpose by ``kernel``."""


def find(name: str) -> Form:
    """Returns the form of this name.

    Raises:
      ValueError: if there is none.
    """
    if name not in _MODULES:
        choices = ", ".join(map(repr, NAMES))
        raise ValueError(f"lowering={name!r}; choose one of {choices}")
    module = importlib.import_module(f"{__package__}.{_MODULES[name]}")
    return cast(Form, module)


def choose(dtype: jax.typing.DTypeLike) -> str:
    """Returns the name of the best form that works in this process.

    Args:
      dtype: dtype of the arrays.

    Raises:
      UserError: if the environment variable ``MERANET_CONVOLUTION`` names no form, or
        one that does not work here.
    """
    dtype = jnp.dtype(dtype).name
    named = os.environ.get(VARIABLE)
    if not named:
        return next(name for name in _AUTOMATIC if failure(name, dtype) is None)
    if named not in NAMES:
        raise UserError(
            f"{VARIABLE}={named} names no form of the convolution. Choose one of "
            f"{', '.join(NAMES)}, or unset it."
        )
    if dtype not in _DTYPES.get(named, (dtype,)):
        return "planes" if failure("planes", dtype) is None else "primitive"
    reason = failure(named, dtype)
    if reason:
        raise UserError(
            f"{VARIABLE}={named}, but this form does not work here: {reason}. Unset "
            "the variable to use the best form that works."
        )
    return named


def describe(name: str) -> str:
    """Returns the name of a form, and the version of oneDNN if it can be known."""
    if name != "native":
        return name
    import meranet_native

    return f"native (oneDNN {meranet_native.onednn_version()})"


@functools.cache
def failure(name: str, dtype: str) -> str | None:
    """Tries a form; returns why it cannot be used, or None if it can.

    Args:
      name: of the form.
      dtype: name of the arrays' dtype.
    """
    if name == "primitive":
        return None
    if dtype not in _DTYPES.get(name, (dtype,)):
        return f"does not compute {dtype}"
    try:
        difference = _probe(name, dtype)
    except Exception as error:  # whatever it is, another form is used
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if difference <= 100 * float(jnp.finfo(dtype).eps):
            return None
        reason = f"its results differ from XLA's by {difference:.2g}"
    _log.debug("convolutions (%s) are not computed as %r: %s", dtype, name, reason)
    return reason


def _probe(name: str, dtype: str) -> float:
    """Computes a convolution and its gradients in two forms.

    Returns:
      The largest difference, relative to the largest value.
    """
    strides, pads = (1, 2, 2), ((1, 1), (1, 1), (1, 1))
    size, kernel_size = (3, 6, 6), (3, 3, 3)

    def compute(form, x, kernel, gradient):
        options = {"strides": strides, "pads": pads}
        return (
            form.convolution(x, kernel, **options),
            form.input_gradient(gradient, kernel, size=size, **options),
            form.kernel_gradient(x, gradient, kernel_size=kernel_size, **options),
        )

    def both(*arrays):
        return compute(find(name), *arrays), compute(find("primitive"), *arrays)

    rng = np.random.default_rng(0)
    shapes = ((2, *size, 16), (*kernel_size, 16, 16), (2, 3, 3, 3, 16))
    arrays = [rng.normal(size=shape).astype(jnp.dtype(dtype)) for shape in shapes]
    wide = dtype == "float64" or jnp.float64 == jnp.result_type(float)
    with (
        jax.default_device(jax.local_devices(backend="cpu")[0]),
        jax.enable_x64(wide),
    ):
        # Compiled ahead of time, since this can run while another function is traced.
        found, expected = jax.jit(both).lower(*arrays).compile()(*arrays)
    found, expected = (
        [np.asarray(array, np.float64) for array in arrays]
        for arrays in (found, expected)
    )
    return max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(found, expected, strict=True)
    )
