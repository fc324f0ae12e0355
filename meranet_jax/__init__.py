"""MERANet: micro-expression recognition with a 3D residual attention network.

Names are imported when they are first used (PEP 562), so that ``meranet_jax.cores``,
``errors`` and ``video`` can be used without JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meranet_jax.models.attention import ChannelAttention, SpatioTemporalAttention
    from meranet_jax.models.conv import Conv3D
    from meranet_jax.models.meranet import MERANet, ResidualAttentionBlock
    from meranet_jax.prediction.predicting import predict
    from meranet_jax.version import __version__

_MODULES = {
    "ChannelAttention": "meranet_jax.models.attention",
    "Conv3D": "meranet_jax.models.conv",
    "MERANet": "meranet_jax.models.meranet",
    "ResidualAttentionBlock": "meranet_jax.models.meranet",
    "SpatioTemporalAttention": "meranet_jax.models.attention",
    "__version__": "meranet_jax.version",
    "predict": "meranet_jax.prediction.predicting",
}

# Not computed from _MODULES: type checkers and linters read it.
__all__ = [
    "ChannelAttention",
    "Conv3D",
    "MERANet",
    "ResidualAttentionBlock",
    "SpatioTemporalAttention",
    "__version__",
    "predict",
]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
