"""3-D convolution and its gradients by the extension in ``native/``, through jax.ffi.

The extension calls oneDNN on XLA's buffers as they are. It is a package of its own,
``meranet_native``, that needs a C++ compiler when it is installed.
"""

import functools
import os

import jax
import numpy as np

from meranet_jax.models.convolution.shapes import Options, Triple, output_size
from meranet_jax.models.convolution.threads import default as default_threads


def convolution(x: jax.Array, kernel: jax.Array, options: Options) -> jax.Array:
    """See ``lowerings.Form``."""
    size = output_size(x.shape[1:4], kernel.shape[:3], options.strides, options.pads)
    shape = (x.shape[0], *size, kernel.shape[4])
    return _call("convolution", shape, x, kernel, options)


def input_gradient(
    gradient: jax.Array, kernel: jax.Array, options: Options, *, size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    shape = (gradient.shape[0], *size, kernel.shape[3])
    return _call("input_gradient", shape, gradient, kernel, options)


def kernel_gradient(
    x: jax.Array, gradient: jax.Array, options: Options, *, kernel_size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    shape = (*kernel_size, x.shape[4], gradient.shape[4])
    return _call("kernel_gradient", shape, x, gradient, options)


def _call(name, shape, a, b, options: Options) -> jax.Array:
    call = jax.ffi.ffi_call(_register()[name], jax.ShapeDtypeStruct(shape, a.dtype))
    return call(
        a,
        b,
        strides=np.array(options.strides, np.int64),
        before=np.array([before for before, _ in options.pads], np.int64),
        after=np.array([after for _, after in options.pads], np.int64),
        threads=np.int64(options.threads or default_threads()),
    )


@functools.cache
def _register() -> dict[str, str]:
    """Registers the extension's functions once; returns their targets by name.

    Raises:
      ImportError: if the extension is not installed.
      OSError: if oneDNN, or another library that it needs, is missing.
    """
    # Threads that wait actively take the processor from other programs, and from
    # XLA's own threads. OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import meranet_native

    targets = {}
    for name, function in meranet_native.functions().items():
        targets[name] = f"meranet_{name}"
        jax.ffi.register_ffi_target(
            targets[name], jax.ffi.pycapsule(function), platform="cpu"
        )
    return targets
