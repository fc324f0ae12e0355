"""TFDS builder of SMIC."""

import dataclasses
import re
from typing import Literal

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source.cells import canonical_subject
from datasets.source.columns import Columns
from datasets.source.folders import without_suffix
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError

Camera = Literal["HS", "VIS", "NIR"]

# Frames per second (Hz) of each camera: high speed, visible light, near infrared.
_FRAME_RATES = {"HS": 100, "VIS": 25, "NIR": 25}

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  SMIC_all_cropped/                or SMIC_all_raw/
    HS/                            or VIS/ or NIR/, see --camera
      s1/
        micro/
          negative/                or positive/ or surprise/
            s1_ne_01/              ne is negative, po positive, sur surprise
              reg_image<number>.bmp   or image<number>.bmp or <number>.bmp

There is no table: the names of the folders are the labels."""

# Emotions in the names of clips, s1_ne_01
_EMOTIONS = {"ne": "negative", "po": "positive", "sur": "surprise"}
_CLIP = re.compile(r"(s[0-9]+)_(ne|po|sur)_[0-9]+", re.IGNORECASE)
_NON_MICRO = re.compile(r"non[\s_-]*micro", re.IGNORECASE)


@dataclasses.dataclass(kw_only=True)
class Config(LocalCopyConfig):
    """How clips are made from a local copy of SMIC.

    Attributes:
      camera: camera of the recordings: ``HS`` (high speed), ``VIS`` (visible light) or
        ``NIR`` (near infrared).
    """

    camera: Camera = "HS"

    def __post_init__(self):
        super().__post_init__()
        if self.camera not in _FRAME_RATES:
            raise DataError(
                f"--camera={self.camera} must be one of {', '.join(_FRAME_RATES)}."
            )
        known = any(release.name == self.release for release in _RELEASES)
        if known and not self.release.startswith(f"{self.camera}_"):
            raise DataError(
                f"--release={self.release} is not of --camera={self.camera}, which has "
                f"{self.camera}_cropped and {self.camera}_raw."
            )

    def permits(self, release: Release) -> bool:
        """Returns whether a release is of the camera, and otherwise permitted."""
        return release.name.startswith(f"{self.camera}_") and super().permits(release)

    def full_name(self) -> str:
        """Returns the name of this configuration's folder of records."""
        name = super().full_name()
        return name if self.camera == "HS" else f"{name}-{self.camera}"


def _label(names: tuple[str, ...]) -> str | None:
    """Returns the emotion of a clip such as ``s1/micro/negative/s1_ne_01``.

    Raises:
      DataError: if the name of the clip contradicts those of the folders around it.
    """
    subject, *folders, clip = names
    match = _CLIP.fullmatch(without_suffix(clip)[0])
    if match is None:
        return None
    if canonical_subject(match[1]) != canonical_subject(without_suffix(subject)[0]):
        raise DataError(
            f"it is in the folder {subject}, and its name is that of a clip of "
            f"{match[1]}: move it, or rename it"
        )
    emotion = _EMOTIONS[match[2].lower()]
    for folder in folders:
        other = without_suffix(folder)[0].lower()
        if other in _EMOTIONS.values() and other != emotion:
            raise DataError(
                f"it is in the folder {folder}, and its name says {emotion}: move it, "
                "or rename it"
            )
    return emotion


def _releases(camera: Camera) -> tuple[Release, Release]:
    """Returns the cropped and the raw recordings of a camera."""
    # Of another camera, or the longer videos of SMIC-E, whose clips have the same names
    others = "|".join(name for name in _FRAME_RATES if name != camera)
    other_frames = re.compile(
        rf"(?:^|[\s_-])(?:{others}|long)(?:$|[\s_-])"
        r"|(?:smic|hs|vis|nir)[\s_-]+e(?:$|[\s_-])",
        re.IGNORECASE,
    )

    def release(kind: str, cropped: bool) -> Release:
        """Returns the release of one kind, ``cropped`` or ``raw``."""
        folders = [f"SMIC_all_{kind}", f"SMIC_{kind}"]
        return Release(
            f"{camera}_{kind}",
            (tuple(f"{folder}/{camera}" for folder in folders),),
            cropped=cropped,
            frame_rate=_FRAME_RATES[camera],
            other_frames=other_frames,
            no_expressions=_NON_MICRO,
        )

    return release("cropped", True), release("raw", False)


_RELEASES = tuple(release for camera in _FRAME_RATES for release in _releases(camera))

SPECIFICATION = Specification(
    name="smic",
    title="SMIC",
    recorded_sizes=((640, 480),),
    homepage="https://www.oulu.fi/cmvs/node/41319",
    emotions=tuple(_EMOTIONS.values()),
    columns=Columns(headers={}),
    tables=(),
    releases=_RELEASES,
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "HS": {"negative": 70, "positive": 51, "surprise": 43},
        "VIS": {"negative": 23, "positive": 28, "surprise": 20},
    },
    counts_of=lambda name, config: name == config.camera,
    label_of_folders=_label,
)


class Builder(LocalCopyBuilder):
    """Writes the records of SMIC, one for each folder of a micro-expression."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    SPECIFICATION = SPECIFICATION
    BUILDER_CONFIGS = [
        Config(
            name="apex32-16x112",
            description="Every second frame of the 32 around the middle, 112x112 RGB, "
            "of the high-speed camera.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions
