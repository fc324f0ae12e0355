"""The inputs that ``--input`` names."""

import dataclasses
from collections.abc import Callable

import jax

from meranet_jax.errors import UserError
from meranet_jax.inputs import augmentation, rgb


@dataclasses.dataclass(frozen=True)
class Input:
    """What a recogniser sees of a clip.

    Attributes:
      name: its value of ``--input``.
      title: its name in reports.
      channels: C.
      prepare: maps clips, uint8 [B, T, H, W, 3], to float32 [B, T, H, W, C]; it is part
        of the compiled step.
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
