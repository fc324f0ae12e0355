"""The inputs that ``--input`` names."""

import dataclasses
from collections.abc import Callable

import jax

from meranet_jax.errors import UserError
from meranet_jax.inputs import augmentation, rgb


@dataclasses.dataclass(frozen=True)
class Input:
    """A representation of clips that a recogniser receives.

    Attributes:
      name: its value of ``--input``.
      title: its name in reports.
      channels: C.
      prepare: maps clips, uint8 [B, T, H, W, 3], to [B, T, H, W, C], for networks
        float32; it is part of their compiled step.
      mirror: mirrors prepared clips left to right.
    """

    name: str
    title: str
    channels: int
    prepare: Callable[[jax.Array], jax.Array]
    mirror: Callable[[jax.Array], jax.Array] = augmentation.mirror

    def shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Returns the shape of a prepared clip, [T, H, W, C]."""
        return frames, size, size, self.channels


INPUTS = {
    "raw": Input(
        name="raw",
        title="RGB frames as recorded, 0 to 255",
        channels=3,
        prepare=lambda clips: clips,
    ),
    "rgb": Input(
        name="rgb",
        title="RGB frames, normalised by clip and channel",
        channels=3,
        prepare=rgb.normalise,
    ),
}


def find(name: str) -> Input:
    """Returns the input that ``--input`` names.

    Raises:
      UserError: if there is none.
    """
    if name not in INPUTS:
        raise UserError(f"--input={name} is none of {', '.join(INPUTS)}.")
    return INPUTS[name]
