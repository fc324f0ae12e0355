"""MERANet: micro-expression recognition with a 3D residual attention network."""

from meranet_jax.attention import ChannelAttention, SpatioTemporalAttention
from meranet_jax.conv import Conv3D
from meranet_jax.model import MERANet, ResidualAttentionBlock

__all__ = [
    "ChannelAttention",
    "Conv3D",
    "MERANet",
    "ResidualAttentionBlock",
    "SpatioTemporalAttention",
]
