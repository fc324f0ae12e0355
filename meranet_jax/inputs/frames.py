"""Inputs that are computed from the frames in the compiled step."""

import jax
import jax.numpy as jnp

# Weights of red, green and blue in the luminance (ITU-R BT.601).
_LUMINANCE = (0.299, 0.587, 0.114)


def decode(stored: jax.Array) -> jax.Array:
    """Converts the frames of clips, uint8 of any shape, to float32."""
    return stored.astype(jnp.float32)


def luminance(clips: jax.Array) -> jax.Array:
    """Computes the luminance 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Args:
      clips: RGB frames, float32 [..., 3].

    Returns:
      float32 [..., 1].
    """
    # Not a matrix product, which accelerators may compute in a lower precision.
    return (clips * jnp.array(_LUMINANCE)).sum(-1, keepdims=True)


def difference(stored: jax.Array) -> jax.Array:
    """Subtracts from each frame the reference frame.

    Args:
      stored: the reference frame, followed by the frames of the clip; float32
        [B, 1 + T, H, W, 3].

    Returns:
      D_t = I_t - I_reference, float32 [B, T, H, W, 3].
    """
    return stored[:, 1:] - stored[:, :1]


def divide_by_rms(clips: jax.Array, smallest: float) -> jax.Array:
    """Divides each clip by its root mean square over frames, pixels and channels.

    The mean is not subtracted, since zero means that nothing changed or moved.

    Args:
      clips: float32 [B, T, H, W, C].
      smallest: the smallest divisor, for clips in which nothing or nearly nothing
        changes. Noise is scaled like motion.
    """
    rms = jnp.sqrt((clips**2).mean((1, 2, 3, 4), keepdims=True))
    return clips / jnp.maximum(rms, smallest)


def dynamic_image(clips: jax.Array) -> jax.Array:
    """Computes the dynamic image of each clip by approximate rank pooling.

    Bilen et al., "Dynamic Image Networks for Action Recognition" (CVPR 2016): a
    weighted sum of the frames I_1 ... I_T, of which later ones have larger weights,

        D = sum_t a_t I_t,   a_t = sum_{i = t .. T} (2 i - T - 1) / i.

    The weights sum to zero, so what does not change cancels. The image is scaled
    linearly from its minimum and maximum over all pixels and channels to [-1, 1].

    Args:
      clips: frames, float32 [B, T, H, W, C].

    Returns:
      float32 [B, 1, H, W, C]; zero for a clip without any change.
    """
    frames = clips.shape[1]
    index = jnp.arange(1, frames + 1)
    terms = (2 * index - frames - 1) / index
    weights = jnp.cumsum(terms[::-1])[::-1]
    image = (weights[:, None, None, None] * clips).sum(1, keepdims=True)
    low = image.min((1, 2, 3, 4), keepdims=True)
    high = image.max((1, 2, 3, 4), keepdims=True)
    span = high - low
    # Rounding alone gives a small span to a clip without any change.
    scaled = 2 * (image - low) / jnp.maximum(span, 1e-3) - 1
    return jnp.where(span > 1e-3, scaled, 0)
