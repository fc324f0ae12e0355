"""Inputs that are computed from the frames in the compiled step."""

import jax
import jax.numpy as jnp

# Weights of red, green and blue in the luminance (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)


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
    return (clips * jnp.array(LUMINANCE)).sum(-1, keepdims=True)


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


def divide_by_maximum(clips: jax.Array) -> jax.Array:
    """Subtracts the mean of each clip, and divides by the maximum of the difference.

    Args:
      clips: float32 [B, T, H, W, C].
    """
    centred = clips - clips.mean((1, 2, 3, 4), keepdims=True)
    return centred / jnp.maximum(centred.max((1, 2, 3, 4), keepdims=True), 1e-3)


def scale_to_bytes(clips: jax.Array, constant: float = 0.0) -> jax.Array:
    """Scales each clip linearly from its minimum and maximum to 0..255.

    Args:
      clips: float32 [B, T, H, W, C]; the extrema are those over all pixels, frames and
        channels.
      constant: the value of clips without any difference.
    """
    low = clips.min((1, 2, 3, 4), keepdims=True)
    span = clips.max((1, 2, 3, 4), keepdims=True) - low
    # Rounding alone gives a small span to the sum of equal values.
    scaled = 255 * (clips - low) / jnp.maximum(span, 1e-6)
    return jnp.where(span > 1e-6, scaled, constant)


def learnet_image(clips: jax.Array) -> jax.Array:
    """Computes the dynamic image of LEARNet.

    Its weights of the frames I_1 ... I_T differ from those of ``dynamic_image``: a_t =
    sum_{i = t .. T} (2 i - T) / i. They sum to T, so that the face remains visible.

    Args:
      clips: frames, float32 [B, T, H, W, 3].

    Returns:
      float32 [B, 1, H, W, 3], from 0 to 255 over all pixels and channels.
    """
    number = clips.shape[1]
    index = jnp.arange(1, number + 1)
    weights = jnp.cumsum(((2 * index - number) / index)[::-1])[::-1]
    image = (weights[:, None, None, None] * clips).sum(1, keepdims=True)
    return scale_to_bytes(image)


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
