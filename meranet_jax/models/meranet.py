"""MERANet and its 3D ResNet (section 3.3, 3.4 and Table 2 of the paper)."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.attention import ChannelAttention, SpatioTemporalAttention
from meranet_jax.models.conv import Conv3D, Lowering
from meranet_jax.models.settings import PAPER_ATTENTIONS, SharedNetwork, Shortcut

ModuleDef = Callable[..., nn.Module]


class ResidualAttentionBlock(nn.Module):
    """Residual block with attention (Eq. 10-12).

    Attributes:
      features: number of output channels, C'.
      conv: constructor of a 3-D convolution.
      norm: constructor of a batch normalisation.
      strides: strides of the first convolution and of the shortcut.
      attentions: constructors of the attentions, which are applied one after another
        before the shortcut is added: in the paper channel, then spatio-temporal
        attention (Eq. 10, 11). Empty: a plain residual block.
      shortcut: shortcut where the shape changes: ``"projection"`` is a 1x1x1
        convolution with batch normalisation (Table 2), ``"zero_pad"`` is subsampling
        with channels of zeros appended (section 3.4).
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef
    strides: tuple[int, int, int] = (1, 1, 1)
    attentions: tuple[ModuleDef, ...] = ()
    shortcut: Shortcut = "projection"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block: [B, T, H, W, C] -> [B, T', H', W', C'].

        Raises:
          ValueError: if ``shortcut`` is unknown or cannot reduce the channels, or if an
            attention changes the shape of its input.
        """
        y = self.conv(self.features, (3, 3, 3), self.strides, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))  # [B, T', H', W', C']
        y = self.conv(self.features, (3, 3, 3), name="conv2")(y)
        y = self.norm(name="norm2")(y)
        for attention in self.attentions:
            shape = y.shape
            y = attention()(y)
            # Otherwise the shortcut and the sum would silently broadcast.
            if y.shape != shape:
                raise ValueError(
                    f"attention {attention} returns {y.shape} for {shape}; it must "
                    "return the shape of its input"
                )
        return nn.relu(y + self._shortcut(x, y))  # Eq. 12

    def _shortcut(self, x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape == y.shape:
            return x
        if self.shortcut == "projection":
            conv = self.conv(self.features, (1, 1, 1), self.strides, name="projection")
            return self.norm(name="projection_norm")(conv(x))
        if self.shortcut != "zero_pad":
            raise ValueError(
                f"shortcut={self.shortcut!r}; choose 'projection' or 'zero_pad'"
            )
        added = self.features - x.shape[-1]
        if added < 0:
            raise ValueError(
                "a zero_pad shortcut cannot reduce channels from "
                f"{x.shape[-1]} to {self.features}"
            )
        st, sh, sw = self.strides
        return jnp.pad(x[:, ::st, ::sh, ::sw], ((0, 0),) * 4 + ((0, added),))


class MERANet(nn.Module):
    """MERANet-18 (Table 2), or its backbone 3D ResNet-18 with ``attention=False``.

    Attributes:
      num_classes: number of outputs of the dense head.
      attention: whether blocks have attention.
      attentions: attentions of each block in their order: ``"channel"``,
        ``"spatio_temporal"``, or a constructor of a module that maps [B, T, H, W, C] to
        the same shape. The constructor gets ``conv``, a constructor of ``Conv3D``.
      width: channels of the stem and the first stage; each further stage doubles them.
      stage_sizes: number of blocks in each stage; each stage after the first halves T,
        H and W.
      reduction: r of the channel attention.
      kernel_size: kernel size of the spatio-temporal attention; 3, 5 or 7 in the paper.
      shared: the channel attention's shared network, ``"cnn"`` or ``"mlp"``.
      shortcut: ``"projection"`` or ``"zero_pad"``, see ``ResidualAttentionBlock``.
      axis_name: name of the pmap axis over which batch statistics are averaged, if any.
      lowering: lowering of the convolutions, see ``Conv3D``.
      dtype: dtype of the computation; parameters, statistics and logits are float32.
      remat: whether the backward pass recomputes the activations inside each block.
    """

    num_classes: int
    attention: bool = True
    attentions: tuple[str | ModuleDef, ...] = PAPER_ATTENTIONS
    width: int = 64
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    reduction: int = 16
    kernel_size: int = 5
    shared: SharedNetwork = "cnn"
    shortcut: Shortcut = "projection"
    axis_name: str | None = None
    lowering: Lowering | None = None
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes the logits of clips.

        Args:
          x: [B, T, H, W, 3], clips normalised per sample and channel.
          train: whether to normalise with the statistics of the batch and update the
            running statistics (collection ``batch_stats``, momentum 0.9), instead of
            using the running statistics.

        Returns:
          [B, num_classes].

        Raises:
          ValueError: if an attention is unknown.
        """
        conv = functools.partial(Conv3D, lowering=self.lowering, dtype=self.dtype)
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        dense = functools.partial(
            nn.Dense, kernel_init=nn.initializers.xavier_uniform(), dtype=self.dtype
        )
        built_in: dict[str, ModuleDef] = {
            "channel": functools.partial(
                ChannelAttention,
                reduction=self.reduction,
                shared=self.shared,
                dense=dense,
                name="channel_attention",
            ),
            "spatio_temporal": functools.partial(
                SpatioTemporalAttention,
                kernel_size=self.kernel_size,
                name="st_attention",
            ),
        }
        attentions: tuple[ModuleDef, ...] = ()
        if self.attention:
            names = {a for a in self.attentions if isinstance(a, str)}
            if unknown := names - set(built_in):
                raise ValueError(
                    f"attentions has {unknown}; choose from {tuple(built_in)}"
                )
            attentions = tuple(
                functools.partial(built_in[a] if isinstance(a, str) else a, conv=conv)
                for a in self.attentions
            )

        block_of = ResidualAttentionBlock
        if self.remat:
            block_of = nn.remat(ResidualAttentionBlock)
        # Shapes for the paper's input, [B, 16, 112, 112, 3]
        x = conv(self.width, (3, 7, 7), (1, 2, 2), name="stem")(x)
        x = nn.relu(norm(name="stem_norm")(x))  # [B, 16, 56, 56, 64]
        for stage, blocks in enumerate(self.stage_sizes):
            # [B, 16, 56, 56, 64], [B, 8, 28, 28, 128], ... [B, 2, 7, 7, 512]
            for block in range(blocks):
                x = block_of(
                    self.width * 2**stage,
                    conv=conv,
                    norm=norm,
                    strides=(2, 2, 2) if stage > 0 and block == 0 else (1, 1, 1),
                    attentions=attentions,
                    shortcut=self.shortcut,
                    name=f"block{stage + 1}_{block + 1}",
                )(x)
        x = x.mean((1, 2, 3))  # [B, 512]
        if self.dtype is not None:
            # Classes and checkpoints are ranked by unrounded logits.
            dense = functools.partial(dense, dtype=jnp.float32)
        return dense(self.num_classes, name="head")(x)  # [B, num_classes]
