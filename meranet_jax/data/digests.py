"""Digests of clips and of their frames."""

import dataclasses
import hashlib

import numpy as np

# Size of a digest in bytes.
_BYTES = 16


@dataclasses.dataclass(frozen=True)
class ClipDigest:
    """Digests of one clip, computed from its pixels.

    Attributes:
      clip: digest of all frames, in their order.
      frames: digests of the distinct frames.
    """

    clip: bytes
    frames: frozenset[bytes]


def digest_of(clip: np.ndarray) -> ClipDigest:
    """Computes the digests of a clip.

    Args:
      clip: uint8 [T, H, W, C].
    """
    frames = [
        hashlib.blake2b(frame, digest_size=_BYTES).digest()
        for frame in np.ascontiguousarray(clip).reshape(len(clip), -1)
    ]
    # Hashes the pixels once: the digest of a clip is that of its frames' digests.
    clip_digest = hashlib.blake2b(b"".join(frames), digest_size=_BYTES).digest()
    return ClipDigest(clip_digest, frozenset(frames))
