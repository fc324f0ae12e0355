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
    """Two convolutions, the attentions, and the shortcut (Eq. 10-12).

    Attributes:
      features: output channels, C'.
      conv: makes a 3-D convolution.
      norm: makes a batch normalisation.
      strides: of the first convolution and of the shortcut.
      attentions: made and applied in turn before the shortcut is added: channel
        attention, then spatio-temporal (Eq. 10, 11). Empty: a plain residual block.
      shortcut: where the shape changes, ``"projection"`` is a 1x1x1 convolution with
        its normalisation (Table 2), ``"zero_pad"`` every second voxel with channels of
        zeros added (section 3.4).
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef
    strides: tuple[int, int, int] = (1, 1, 1)
    attentions: tuple[ModuleDef, ...] = ()
    shortcut: Shortcut = "projection"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, H, W, C] -> [B, T', H', W', C'].

        Raises:
          ValueError: if ``shortcut`` is unknown, or cannot narrow the channels, or if
            an attention gives another shape than it is given.
        """
        y = self.conv(self.features, (3, 3, 3), self.strides, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))  # [B, T', H', W', C']
        y = self.conv(self.features, (3, 3, 3), name="conv2")(y)
        y = self.norm(name="norm2")(y)
        for attention in self.attentions:
            shape = y.shape
            y = attention()(y)
            # The shortcut and the sum would fit themselves to it without a word.
            if y.shape != shape:
                raise ValueError(
                    f"attention {attention} makes {y.shape} of {shape}; it must give "
                    "what it is given, scaled"
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
                f"zero padding cannot make {self.features} channels of {x.shape[-1]}"
            )
        st, sh, sw = self.strides
        return jnp.pad(x[:, ::st, ::sh, ::sw], ((0, 0),) * 4 + ((0, added),))


class MERANet(nn.Module):
    """MERANet-18 (Table 2), or its 3D ResNet-18 with ``attention=False``.

    Attributes:
      num_classes: outputs of the dense head.
      attention: whether blocks carry attention.
      attentions: which, in turn: ``"channel"``, ``"spatio_temporal"``, or what makes a
        module [B, T, H, W, C] -> the same, given ``conv``, which makes a ``Conv3D``.
      width: channels of the stem and the first stage; each further stage doubles them.
      stage_sizes: blocks in each stage; each stage after the first halves T, H and W.
      reduction: r of the channel attention.
      kernel_size: of the spatio-temporal attention: 3, 5 or 7 in the paper.
      shared: the channel attention's shared network, ``"cnn"`` or ``"mlp"``.
      shortcut: ``"projection"`` or ``"zero_pad"``.
      axis_name: the pmapped axis over which batch statistics are averaged, if any.
      lowering: of the convolutions, see ``Conv3D``.
      dtype: of the computation; parameters and statistics stay float32.
      remat: whether the backward pass computes what is inside of a block again.
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
        """[B, T, H, W, 3] normalised clips -> [B, num_classes] logits.

        Args:
          x: clips, normalised per sample and channel.
          train: normalise with the batch's statistics, and update the running ones
            (collection ``batch_stats``, momentum 0.9), instead of using those.

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
        ours: dict[str, ModuleDef] = {
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
            if unknown := {a for a in self.attentions if isinstance(a, str)} - set(
                ours
            ):
                raise ValueError(f"attentions has {unknown}; choose of {tuple(ours)}")
            attentions = tuple(
                functools.partial(ours[one] if isinstance(one, str) else one, conv=conv)
                for one in self.attentions
            )

        block_of = ResidualAttentionBlock
        if self.remat:
            block_of = nn.remat(ResidualAttentionBlock)
        # Sizes for the paper's input, [B, 16, 112, 112, 3]
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
            # What ranks classes and checkpoints is not rounded.
            dense = functools.partial(dense, dtype=jnp.float32)
        return dense(self.num_classes, name="head")(x)  # [B, num_classes]
