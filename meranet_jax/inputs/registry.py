"""The inputs that ``--input`` names."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.inputs import augmentation, flow, frames, rgb

ONSET_FRAME, APEX_FRAME, CLIP = "onset_frame", "apex_frame", "clip"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """A representation of clips that a recogniser receives.

    The frames that it is computed from are stored for each clip, uint8 [S, H, W, 3]:
    the record's features, one after another. For an input of optical flow, the flow
    from the first of them to each of the others is stored instead, float16
    [S - 1, H, W, 2] in pixels, or with the luminance of the others, [S - 1, H, W, 3].
    ``decode`` and ``normalise`` are part of the compiled step.

    Attributes:
      name: its value of ``--input``.
      title: its name in reports.
      short_title: its name in tables, without the way in which it is normalised.
      channels: C.
      normalise: maps decoded clips to what the recogniser receives, [B, T, H, W, C];
        for networks float32.
      decode: maps what is stored, [B, S, H, W, C'], to the decoded clips that
        augmentation changes, float32 [B, T', H, W, C'].
      mirror: mirrors clips that the recogniser receives left to right.
      features: record features that it is computed from.
      single: whether T is 1, whatever the number of frames of the clip.
      flow: whether the flow is stored instead of the frames.
      luminance: whether the luminance of each frame, from 0 to 255, is stored after its
        flow.
      optional_onset: whether the first frame of the clip replaces the onset frame where
        records, such as those of a data set of the user's own, do not have it.
    """

    name: str
    title: str
    short_title: str
    channels: int
    normalise: Callable[[jax.Array], jax.Array]
    decode: Callable[[jax.Array], jax.Array] = frames.decode
    mirror: Callable[[jax.Array], jax.Array] = augmentation.mirror
    features: tuple[str, ...] = (CLIP,)
    single: bool = False
    flow: bool = False
    luminance: bool = False
    optional_onset: bool = False

    @property
    def required_features(self) -> tuple[str, ...]:
        """The ``features`` without which there is no input."""
        optional = {ONSET_FRAME} if self.optional_onset else set()
        return tuple(name for name in self.features if name not in optional)

    def shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Returns the shape [T, H, W, C] of a clip as the recogniser receives it.

        Args:
          frames: number of frames of the clip.
          size: their height and width.
        """
        return 1 if self.single else frames, size, size, self.channels

    def stored_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Returns the shape of what is stored for a clip; see ``shape``."""
        stored = sum(frames if name == CLIP else 1 for name in self.features)
        if self.flow:
            return stored - 1, size, size, 2 + self.luminance
        return stored, size, size, 3

    @property
    def stored_dtype(self) -> np.dtype:
        """The type of what is stored for a clip."""
        return np.dtype(np.float16 if self.flow else np.uint8)

    def check_augmentations(self, names: Sequence[str]) -> None:
        """Raises UserError if one of the random changes cannot be used."""
        for name in names:
            reason = None
            if name not in augmentation.AUGMENTATIONS:
                raise UserError(
                    f"--augment {name} is none of "
                    f"{', '.join(augmentation.AUGMENTATIONS)}. Separate several by "
                    "spaces."
                )
            if self.flow and name in augmentation.PHOTOMETRIC:
                reason = "optical flow is computed from the frames before training"
            elif CLIP not in self.features and name in augmentation.TEMPORAL:
                number = "two frames" if ONSET_FRAME in self.features else "one frame"
                reason = f"it is computed from {number} only"
            if reason:
                raise UserError(
                    f"--augment {name} cannot be used with --input={self.name}: "
                    f"{reason}. Leave {name} out."
                )

    def augment(
        self, stored: jax.Array, keys: jax.Array, names: Sequence[str]
    ) -> jax.Array:
        """Returns clips with random changes, as the recogniser receives them.

        Args:
          stored: what is stored for the clips, [B, S, H, W, C'].
          keys: random keys, [B].
          names: the changes.
        """

        def of_clip(clip: jax.Array, key: jax.Array) -> jax.Array:
            if not self.flow and set(names) & set(augmentation.PHOTOMETRIC):
                clip = augmentation.change_light(frames.decode(clip), key, names)
            clip = self.decode(clip[None])[0]
            if set(names) & set(augmentation.GEOMETRIC):
                clip = augmentation.move(clip, key, names, vectors=self.flow)
            return augmentation.change_time(clip, key, names)

        return self.normalise(jax.vmap(of_clip)(stored, keys))

    def prepare(self, stored: jax.Array) -> jax.Array:
        """Returns clips as the recogniser receives them, of what is stored for them."""
        return self.normalise(self.decode(stored))


_ALL = (
    Input(
        name="raw",
        title="RGB frames as recorded, 0 to 255",
        short_title="frames",
        channels=3,
        decode=lambda stored: stored,
        normalise=lambda clips: clips,
    ),
    Input(
        name="rgb",
        title="RGB frames, normalised by clip and channel",
        short_title="frames",
        channels=3,
        normalise=rgb.normalise,
    ),
    Input(
        name="grey",
        title="luminance, normalised by clip",
        short_title="grey frames",
        channels=1,
        normalise=lambda clips: rgb.normalise(frames.luminance(clips)),
    ),
    Input(
        name="difference",
        title="difference from the onset frame, normalised by clip",
        short_title="difference from the onset frame",
        channels=3,
        features=(ONSET_FRAME, CLIP),
        optional_onset=True,
        decode=lambda stored: frames.difference(frames.decode(stored)),
        normalise=lambda clips: frames.divide_by_rms(clips, 1e-3),
    ),
    Input(
        name="flow",
        title="optical flow from the onset frame, normalised by clip",
        short_title="flow",
        channels=2,
        features=(ONSET_FRAME, CLIP),
        flow=True,
        normalise=flow.normalise,
        mirror=flow.mirror,
    ),
    Input(
        name="flow_strain",
        title="optical flow and strain from the onset frame, normalised by clip",
        short_title="flow and strain",
        channels=3,
        features=(ONSET_FRAME, CLIP),
        flow=True,
        normalise=flow.with_strain,
        mirror=flow.mirror,
    ),
    Input(
        name="onset_apex_flow",
        title="optical flow from the onset to the apex frame, normalised by clip",
        short_title="flow from onset to apex",
        channels=2,
        features=(ONSET_FRAME, APEX_FRAME),
        single=True,
        flow=True,
        normalise=flow.normalise,
        mirror=flow.mirror,
    ),
    Input(
        name="raw_flow",
        title="optical flow from the onset frame in pixels",
        short_title="flow",
        channels=2,
        features=(ONSET_FRAME, CLIP),
        flow=True,
        normalise=lambda clips: clips,
        mirror=flow.mirror,
    ),
    Input(
        name="raw_onset_apex_flow",
        title="optical flow from the onset to the apex frame in pixels",
        short_title="flow from onset to apex",
        channels=2,
        features=(ONSET_FRAME, APEX_FRAME),
        single=True,
        flow=True,
        normalise=lambda clips: clips,
        mirror=flow.mirror,
    ),
    Input(
        name="dynamic_image",
        title="dynamic image (approximate rank pooling), scaled to [-1, 1]",
        short_title="dynamic image",
        channels=3,
        single=True,
        normalise=frames.dynamic_image,
    ),
    Input(
        name="learnet_image",
        title="dynamic image of LEARNet, 0 to 255",
        short_title="dynamic image",
        channels=3,
        single=True,
        normalise=frames.learnet_image,
    ),
    Input(
        name="grey_by_maximum",
        title="luminance minus the mean, divided by the maximum, by clip",
        short_title="grey frames",
        channels=1,
        normalise=lambda clips: frames.divide_by_maximum(frames.luminance(clips)),
    ),
    Input(
        name="apex_grey",
        title="luminance of the apex frame, 0 to 255",
        short_title="apex frame",
        channels=1,
        features=(APEX_FRAME,),
        single=True,
        normalise=frames.luminance,
    ),
    Input(
        name="onset_apex_strain",
        title="optical flow from the onset to the apex frame and its strain, 0 to 255",
        short_title="flow and strain",
        channels=3,
        features=(ONSET_FRAME, APEX_FRAME),
        single=True,
        flow=True,
        normalise=flow.as_bytes,
        mirror=flow.mirror_bytes,
    ),
    Input(
        name="flow_grey",
        title="optical flow from the onset frame and luminance, normalised by clip",
        short_title="flow and grey frames",
        channels=3,
        features=(ONSET_FRAME, CLIP),
        flow=True,
        luminance=True,
        normalise=flow.with_grey,
        mirror=flow.mirror,
    ),
)
INPUTS = {one.name: one for one in _ALL}


def find(name: str) -> Input:
    """Returns the input that ``--input`` names.

    Raises:
      UserError: if there is none.
    """
    if name not in INPUTS:
        raise UserError(f"--input={name} is none of {', '.join(INPUTS)}.")
    return INPUTS[name]
