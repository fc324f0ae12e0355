"""3-D convolution and its gradients for JAX on a CPU, by oneDNN.

The functions are handlers of XLA's FFI for ``jax.ffi``; ``src/convolution.cc``
describes their arguments and attributes.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def functions() -> dict[str, Any]:
    """Loads the handlers.

    Returns:
      The functions ``convolution``, ``input_gradient`` and ``kernel_gradient`` by name,
      for ``jax.ffi.pycapsule``.

    Raises:
      OSError: if the library, or one that it needs, cannot be loaded.
    """
    names = ("convolution", "input_gradient", "kernel_gradient")
    return {name: getattr(_library(), f"meranet_{name}") for name in names}


def onednn_version() -> str:
    """Returns the version of the oneDNN that is loaded, such as ``2.6.3``.

    Raises:
      OSError: if it cannot be loaded.
    """
    number = _library().meranet_onednn_version()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


@functools.cache
def _library() -> ctypes.CDLL:
    (path,) = (
        path
        for suffix in ("so", "dylib", "dll")
        for path in Path(__file__).parent.glob(f"convolution.{suffix}")
    )
    return ctypes.CDLL(str(path))
