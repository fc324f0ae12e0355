"""3-D convolution by the oneDNN that jaxlib's wheels for Linux on x86-64 contain.

XLA's CPU backend executes a custom call to it, but has no public interface to it, so
``lowerings`` uses this form only if it computes a small example correctly. There is no
call for the gradient by the kernel, which ``planes`` computes. float32 only.

See ``xla/backends/cpu/runtime/onednn/onednn_op_thunk.cc`` and
``xla/service/cpu/onednn_config.proto`` in XLA's source.
"""

import json
from collections.abc import Sequence

import jax

from meranet_jax.models.convolution import planes
from meranet_jax.models.convolution.shapes import Options, Pads, Triple, output_size

_TARGET = "__onednn$convolution"


def convolution(x: jax.Array, kernel: jax.Array, options: Options) -> jax.Array:
    """See ``lowerings.Form``."""
    if planes.has_simple_form(kernel.shape, options):
        return planes.convolution(x, kernel, options)
    return _forward(x, kernel, options.strides, options.pads)


def input_gradient(
    gradient: jax.Array, kernel: jax.Array, options: Options, *, size: Triple
) -> jax.Array:
    """See ``lowerings.Form``."""
    return planes.input_gradient(gradient, kernel, options, size=size, forward=_forward)


kernel_gradient = planes.kernel_gradient


def _forward(x: jax.Array, kernel: jax.Array, strides: Triple, pads: Pads) -> jax.Array:
    size = output_size(x.shape[1:4], kernel.shape[:3], strides, pads)
    shape = (x.shape[0], *size, kernel.shape[4])
    call = jax.ffi.ffi_call(
        _TARGET,
        jax.ShapeDtypeStruct(shape, x.dtype),
        custom_call_api_version=1,
        legacy_backend_config=_configuration(kernel.shape[:3], strides, pads),
    )
    return call(x, kernel)


def _configuration(kernel_size: Sequence[int], strides: Triple, pads: Pads) -> str:
    """Returns the convolution as XLA's BackendConfig in JSON."""
    activations = {
        "dims": "5",
        "data": {"batch_dim": "0", "feature_dim": "4", "spatial_dims": _text(1, 2, 3)},
    }
    filters = {
        "input_feature_dim": "3",
        "output_feature_dim": "4",
        "spatial_dims": _text(0, 1, 2),
    }
    window = {
        "size": _text(*kernel_size),
        "pad_left": _text(*(before for before, _ in pads)),
        "pad_right": _text(*(after for _, after in pads)),
        "strides": _text(*strides),
        "window_dilations": _text(1, 1, 1),
    }
    return json.dumps(
        {
            "onednn_conv_config": {
                "dims": "5",
                "input": activations,
                "kernel": {"dims": "5", "filter": filters},
                "output": activations,
                "window": window,
                "feature_groups": "1",
            }
        }
    )


def _text(*numbers: int) -> list[str]:
    return [str(number) for number in numbers]
