"""What is known of a licensed data set before a copy of it is opened."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Literal

from datasets import clip_record
from datasets.source.annotations import Annotation, Columns
from datasets.source.releases import Release
from meranet_jax.errors import DataError
from meranet_jax.video import faces

Crop = Literal["auto", "provided", "detect", "none"]


@dataclasses.dataclass(kw_only=True)
class CopyConfig(clip_record.ClipConfig):
    """What becomes of a licensed copy.

    Attributes:
      crop: ``provided``: the data set's own cropped release. ``detect``: faces are
        found in a raw one. ``none``: frames are taken whole. ``auto``: ``provided`` if
        the copy allows it, else ``detect``.
      margin: what is added around a detected face on each side, as a share of it.
      release: the release to read; None leaves the choice to ``crop``.
      table: file name of the table to read; None takes the preferred one.
    """

    crop: Crop = "auto"
    margin: float = faces.MARGIN
    release: str | None = None
    table: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.crop not in ("auto", "provided", "detect", "none"):
            raise DataError(
                f"--crop={self.crop} is none of auto, provided, detect, none."
            )
        if not 0 <= self.margin <= 2:
            raise DataError(f"--margin={self.margin} must be from 0 to 2.")

    def full_name(self) -> str:
        parts = [self.shape_name()]
        if self.crop != "auto":
            parts.append(self.crop)
        if self.margin != faces.MARGIN:
            parts.append(f"margin{self.margin!r}")
        for field in ("release", "table"):
            if (value := getattr(self, field)) is not None:
                parts.append(f"{field}_{_plain(value)}")
        return "-".join(parts)


def _plain(value: str) -> str:
    """Fit for a folder's name; what differs stays different."""
    plain = re.sub(r"[^\w.-]+", "_", value)
    if plain == value:
        return plain
    return f"{plain}_{hashlib.sha256(value.encode()).hexdigest()[:6]}"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a data set before a copy of it is opened.

    Attributes:
      name: its name in this program.
      title: its name in its authors' spelling.
      homepage: where it is applied for, if it must be.
      emotions: those that its table names.
      columns: of its tables.
      tables: how its tables are called, the preferred first: a name for people and a
        pattern. Where a table comes in parts there is one for each, and all are read.
      releases: the cropped first, then in the order of preference.
      expected: how a copy should lie on disk, for people.
      published: counts of the expressions by emotion, for each generation of the
        table; how the check tells whether a copy is whole.
      paper: the counts in the paper that this project implements.
      remarks: why a generation's counts of some emotions are not the paper's.
      interpret: puts the emotion and what a record has beside into a row.
      chosen: whether a configuration takes a row.
      beside: what a record has beside the common features, for a row.
      comparable: whether the counts are of what a configuration takes.
    """

    name: str
    title: str
    emotions: tuple[str, ...]
    columns: Columns
    tables: tuple[tuple[tuple[str, re.Pattern], ...], ...]
    releases: tuple[Release, ...]
    expected: str
    homepage: str | None = None
    published: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    paper: Mapping[str, int] = dataclasses.field(default_factory=dict)
    remarks: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    interpret: Callable[[Annotation], Annotation] = lambda row: row
    chosen: Callable[[Annotation, CopyConfig], bool] = lambda row, config: True
    beside: Callable[[Annotation], dict] = lambda row: {}
    comparable: Callable[[CopyConfig], bool] = lambda config: True

    @property
    def instructions(self) -> str:
        """How to get the data set, for one who has given no copy."""
        get = f"Give the folder that has the table and the frames of {self.title}:"
        if self.homepage:
            get = f"""\
{self.title} is licensed: apply for it at {self.homepage}, sign the
agreement, then download the table and the cropped frames (or the raw ones), unpack
the archives into one folder and give that folder:"""
        return f"""\
{get}

  python -m datasets.prepare {self.name} --manual_dir=FOLDER

{self.expected}
"""
