"""Choice of the form in which a CPU computes 3-D convolutions.

XLA's own 3-D convolution is several times slower on a CPU than oneDNN's. The forms,
best first:

- ``native``: the extension in ``native/``, which calls oneDNN through ``jax.ffi``;
- ``onednn``: the oneDNN inside jaxlib, forward and for the gradient by the input;
- ``planes``: sums of 2-D convolutions and matrix products, in plain JAX;
- ``primitive``: XLA's own 3-D convolution. Programs for accelerators always use it.

The first form is used that computes a few small layers and their gradients as
``primitive`` does. This is tried once for each dtype in a process. ``native`` is used
on x86-64 only, unless it is named: it was not measured elsewhere. ``onednn`` is used
only where it is named: XLA fails to serialise a program that holds it (std::bad_alloc
in jaxlib 0.10.2 and 0.12.0.1), so that each process would compile the program again.
"""

import functools
import importlib
import logging
import os
import platform
from typing import Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np

from meranet_jax import cores
from meranet_jax.errors import UserError
from meranet_jax.models.convolution.shapes import Options, Pads, Triple, output_size

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
# oneDNN has fast convolutions for these; elsewhere `native` was never measured.
_MEASURED = ("x86_64", "AMD64")
# Layers that are tried: kernel size, strides, channels and outputs, as in the stem, a
# block and an attention map.
_PROBED: tuple[tuple[Triple, Triple, int, int], ...] = (
    ((3, 7, 7), (1, 2, 2), 3, 16),
    ((3, 3, 3), (2, 2, 2), 16, 16),
    ((5, 5, 5), (1, 1, 1), 2, 1),
)
_TOLERANCES = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 3e-2, "float16": 1e-2}
_DTYPES = {"native": ("float32", "bfloat16"), "onednn": ("float32",)}

# Environment variable that names a form, for benchmarks and to repeat older results.
VARIABLE = "MERANET_CONVOLUTION"


class Form(Protocol):
    """A form of the 3-D convolution.

    Shapes: inputs ``[B, T, H, W, C]``, kernels ``[kT, kH, kW, C, O]``, outputs and
    their gradients ``[B, T', H', W', O]``. Results have the dtype of the arguments.
    """

    def convolution(
        self,
        x: jax.Array,
        kernel: jax.Array,
        options: Options,
    ) -> jax.Array:
        """Convolves ``x`` with ``kernel``."""

    def input_gradient(
        self,
        gradient: jax.Array,
        kernel: jax.Array,
        options: Options,
        *,
        size: Triple,
    ) -> jax.Array:
        """Computes the gradient by an input of ``size``, the transpose by ``x``."""

    def kernel_gradient(
        self,
        x: jax.Array,
        gradient: jax.Array,
        options: Options,
        *,
        kernel_size: Triple,
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
        names = _AUTOMATIC if platform.machine() in _MEASURED else _AUTOMATIC[1:]
        return next(name for name in names if failure(name, dtype) is None)
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


def choose_or_check(name: str | None, dtype: jax.typing.DTypeLike) -> str:
    """Returns the name of a form that is asked for, or of the best one.

    Args:
      name: of the form, or None.
      dtype: dtype of the arrays.

    Raises:
      ValueError: if the form that is asked for does not work here.
      UserError: see ``choose``.
    """
    if name is None:
        return choose(dtype)
    if reason := failure(name, jnp.dtype(dtype).name):
        raise ValueError(f"lowering={name!r} does not work here: {reason}")
    return name


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
        layers = _PROBED if name != "planes" else _PROBED[1:2]  # plain JAX
        difference = max(_probe(name, dtype, layer) for layer in layers)
        if difference <= _TOLERANCES[dtype]:
            return None
        reason = f"its results differ from XLA's by {difference:.2g}"
    except Exception as error:  # whatever it is, another form is used
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    _log.debug("convolutions (%s) are not computed as %r: %s", dtype, name, reason)
    return reason


def _probe(name: str, dtype: str, layer: tuple[Triple, Triple, int, int]) -> float:
    """Computes a convolution and its gradients in two forms.

    Args:
      name: of the form that is compared with ``primitive``.
      dtype: name of the arrays' dtype.
      layer: kernel size, strides, channels and outputs.

    Returns:
      The largest difference, relative to the largest value; inf if one is not finite.
    """
    kernel_size, strides, channels, outputs = layer
    size = (3, 6, 6)
    pads = cast(Pads, tuple((k // 2, k // 2) for k in kernel_size))

    def compute(form, x, kernel, gradient):
        # With several threads, as a run of a single fold has
        options = Options(strides, pads, threads=max(2, cores.count()))
        return (
            form.convolution(x, kernel, options),
            form.input_gradient(gradient, kernel, options, size=size),
            form.kernel_gradient(x, gradient, options, kernel_size=kernel_size),
        )

    def both(*arrays):
        return compute(find(name), *arrays), compute(find("primitive"), *arrays)

    rng = np.random.default_rng(0)
    shapes = (
        (2, *size, channels),
        (*kernel_size, channels, outputs),
        (2, *output_size(size, kernel_size, strides, pads), outputs),
    )
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
    differences = [
        np.abs(a - b).max() / np.abs(b).max()
        for a, b in zip(found, expected, strict=True)
    ]
    return float(max(differences)) if np.isfinite(differences).all() else np.inf
