"""Clips of an experiment, with their labels and metadata."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from meranet_jax.data.class_sets import ClassSet
from meranet_jax.data.digests import ClipDigest, digest_of

# Prefix of fingerprints with their version; those of the first version have no prefix.
_VERSION = "2:"


class LazyClips:
    """Clips that are read from their records at each access.

    Attributes:
      shape: [N, T, H, W, C].
      nbytes: bytes of all clips.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        shape: Sequence[int],
        dtype: npt.DTypeLike = np.uint8,
    ):
        """Makes clips from a function that reads them.

        Args:
          read: returns the clip of an index, [T, H, W, C]; thread-safe.
          shape: [N, T, H, W, C].
          dtype: of the clips.
        """
        self._read = read
        self.shape = tuple(shape)
        self.nbytes = math.prod(shape) * np.dtype(dtype).itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """Reads a clip, [T, H, W, C]."""
        if not 0 <= index < len(self):
            raise IndexError(index)  # ends an iteration
        return self._read(index)


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of an experiment, ordered by id.

    Attributes:
      clips: uint8 [N, T, H, W, 3]; in memory, or ``LazyClips``.
      labels: int32 [N], indices into ``classes``.
      clip_ids: N unique ids, prefixed by the data set's name if there are several.
      subjects: N subjects, prefixed likewise; those of data sets that show the same
        people have the same prefix, see ``recipes.people``.
      datasets: N names of data sets.
      emotions: N emotions as in the data set's table.
      classes: the emotions of each class.
      left_out: number of clips of the data sets that are left out, by reason.
      stored: what the input stores for each clip, [N, ...], and the devices receive;
        None if it is ``clips``.
      first_as_onset: whether the input has the first frame of each clip in place of its
        onset frame, which records of the data sets do not have.
      frame_rates: frame rates of the recordings of each data set in Hz, ascending;
        empty if one is unknown.
      left_out_ids: reason for each recorded clip that is left out, by its id.
      references: for an input of optical flow, the frame that the flow of each clip
        starts from, uint8 [H, W, 3] each, in the recorded size; otherwise None.
      megc2019: number of clips by class of each data set whose clips were chosen by the
        rule of MEGC 2019.
    """

    clips: np.ndarray | LazyClips
    labels: np.ndarray
    clip_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    emotions: tuple[str, ...]
    classes: ClassSet
    left_out: dict[str, int]
    stored: np.ndarray | LazyClips | None = None
    first_as_onset: bool = False
    frame_rates: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    left_out_ids: dict[str, str] = dataclasses.field(default_factory=dict)
    references: np.ndarray | LazyClips | None = None
    megc2019: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def inputs(self) -> np.ndarray | LazyClips:
        """What the devices receive for each clip, [N, ...]."""
        return self.clips if self.stored is None else self.stored

    @functools.cached_property
    def digests(self) -> tuple[ClipDigest, ...]:
        """The digests of each clip.

        ``loading.load`` computes them while it reads the records. For other clips, also
        those made with ``dataclasses.replace``, which copies fields only, they are
        computed from the pixels.
        """
        return tuple(map(digest_of, self.clips))

    def fingerprint(self) -> str:
        """Returns a digest of everything in the clips that results depend on."""
        pixels = (digest.clip for digest in self.digests)
        return _VERSION + self._fingerprint(pixels)

    def has_fingerprint(self, saved: object) -> bool:
        """Returns whether a saved fingerprint is the fingerprint of these clips.

        The comparison with a fingerprint of the first version reads all pixels.

        Args:
          saved: by a run of this or an earlier version.
        """
        if isinstance(saved, str) and ":" not in saved:
            return saved == self._fingerprint(clip.tobytes() for clip in self.clips)
        return saved == self.fingerprint()

    def _fingerprint(self, pixels: Iterable[bytes]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for clip in pixels:
            digest.update(clip)
        rest = (self.labels.tolist(), self.clip_ids, self.subjects, self.clips.shape)
        digest.update(json.dumps(rest).encode())
        return digest.hexdigest()
