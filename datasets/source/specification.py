"""Specification of a licensed data set, and the configuration of its clips."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Literal

from datasets import clip_record
from datasets.source.annotations import Annotation
from datasets.source.cells import is_number
from datasets.source.columns import Columns
from datasets.source.releases import Release
from meranet_jax.errors import DataError
from meranet_jax.video import faces

Crop = Literal["auto", "provided", "detect", "none"]
Sizes = Literal["same", "any"]
Apex = Literal["table", "middle", "spotted"]


@dataclasses.dataclass(kw_only=True)
class LocalCopyConfig(clip_record.ClipConfig):
    """How clips are made from a local copy.

    Attributes:
      crop: ``provided`` uses the data set's own cropped release; ``detect`` detects the
        faces in a raw release; ``none`` keeps full frames; ``auto`` is ``provided`` if
        the copy has a cropped release, otherwise ``detect``.
      margin: added on each side of a detected face, relative to its longer side.
      release: name of the release to read; None lets ``crop`` decide.
      table: file names of the tables to read, or their paths in the folder of the
        copy; empty selects the preferred one.
      sizes: ``same`` leaves out clips whose frames differ in size; ``any`` resizes each
        frame by itself, which adds motion that is not in the face.
      apex: what replaces an apex that is not given in a table. ``middle`` is the middle
        of onset and offset; ``spotted`` the frame that differs most from the onset, if
        ``meranet_jax.video.apex`` finds it; with ``table`` such expressions are left
        out.

    Raises:
      DataError: if a value is out of range.
    """

    crop: Crop = "auto"
    margin: float = faces.MARGIN
    release: str | None = None
    table: tuple[str, ...] = ()
    sizes: Sizes = "same"
    apex: Apex = "middle"

    def __post_init__(self):
        super().__post_init__()
        # Earlier versions had one name or None.
        if self.table is None or isinstance(self.table, str):
            self.table = () if self.table is None else (self.table,)
        if self.crop not in ("auto", "provided", "detect", "none"):
            raise DataError(
                f"--crop={self.crop} must be one of auto, provided, detect, none."
            )
        if self.sizes not in ("same", "any"):
            raise DataError(f"--sizes={self.sizes} must be same or any.")
        if self.apex not in ("table", "middle", "spotted"):
            raise DataError(
                f"--apex={self.apex} must be one of table, middle, spotted."
            )
        if not 0 <= self.margin <= 2:
            raise DataError(f"--margin={self.margin} must be from 0 to 2.")

    def permits(self, release: Release) -> bool:
        """Returns whether ``release`` and ``crop`` permit a release."""
        if self.release not in (None, release.name):
            return False
        return self.crop in ("auto", "none") or (
            release.cropped == (self.crop == "provided")
        )

    def full_name(self) -> str:
        """Returns the name of this configuration's folder of records."""
        parts = [self.shape_name()]
        if self.crop != "auto":
            parts.append(self.crop)
        if self.margin != faces.MARGIN:
            parts.append(f"margin{self.margin!r}")
        if self.release is not None:
            parts.append(f"release_{_folder_name(self.release)}")
        for name in self.table:
            parts.append(f"table_{_folder_name(name)}")
        if self.sizes != "same":
            parts.append(f"sizes_{self.sizes}")
        if self.apex != "middle":
            parts.append(f"apex_{self.apex}")
        return "-".join(parts)


def _folder_name(value: str) -> str:
    """Replaces characters that do not fit a folder's name; the result stays unique."""
    name = re.sub(r"[^\w.-]+", "_", value)
    if name == value:
        return name
    return f"{name}_{hashlib.sha256(value.encode()).hexdigest()[:6]}"


@dataclasses.dataclass(frozen=True)
class Specification:
    """What is known about a data set independently of a local copy.

    Attributes:
      name: name of the data set in this program.
      title: name of the data set as its authors write it.
      emotions: emotions in its table; empty only for long recordings whose table has
        none.
      columns: columns of its tables.
      tables: accepted tables in order of preference. Each is a tuple of parts, which
        are all read; a part has a name for messages and a pattern for file names. Empty
        with ``label_of_folders``.
      releases: releases in order of preference, cropped ones first.
      expected_layout: description, for the user, of a copy's folders and files.
      frame_rate: frames of its recordings per second (Hz); None if it is unknown or
        differs. Then that of each video is used, and that of images is unknown.
      recorded_sizes: widths and heights of its recordings in pixels, by which frames in
        a folder with an unknown name are recognised as full frames or crops; empty if
        they are unknown.
      homepage: where to apply for access, None if that is not necessary.
      published_counts: number of expressions by emotion, for each generation of the
        table. ``datasets.check`` compares a copy with them.
      paper_counts: number of expressions by emotion in the MERANet paper (section 4.1).
      count_remarks: why counts of a generation differ from the paper, by generation and
        emotion.
      interpret: returns a row with its final emotion and extra fields; raises DataError
        if the row is invalid.
      selects: whether a configuration selects a row.
      extra_features: features of a row's record in addition to the common ones.
      counts_apply: whether the published counts apply to a configuration.
      counts_of: whether those of a generation do, by its name. Generations that are not
        of the same recordings differ in it.
      recording_of: name of the recording of a row. Rows of one recording that overlap
        in time are reported.
      label_of_folders: for data sets without a table; see ``folder_rows``. It returns
        the emotion of a clip by the names of the folders from that of its subject, or
        below that of all clips, to its own, or without suffix its video's; None if
        they name none. It raises DataError if they contradict each other.
    """

    name: str
    title: str
    emotions: tuple[str, ...]
    columns: Columns
    tables: tuple[tuple[tuple[str, re.Pattern], ...], ...]
    releases: tuple[Release, ...]
    expected_layout: str
    frame_rate: float | None = None
    recorded_sizes: tuple[tuple[int, int], ...] = ()
    homepage: str | None = None
    published_counts: Mapping[str, Mapping[str, int]] = dataclasses.field(
        default_factory=dict
    )
    paper_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    count_remarks: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict
    )
    interpret: Callable[[Annotation], Annotation] = lambda row: row
    selects: Callable[[Annotation, LocalCopyConfig], bool] = lambda row, config: True
    extra_features: Callable[[Annotation], dict] = lambda row: {}
    counts_apply: Callable[[LocalCopyConfig], bool] = lambda config: True
    counts_of: Callable[[str, LocalCopyConfig], bool] = lambda name, config: True
    recording_of: Callable[[Annotation], str] = lambda row: row.clip
    label_of_folders: Callable[[tuple[str, ...]], str | None] | None = None

    def interpreted(self, row: Annotation) -> Annotation:
        """Returns a row as ``interpret`` does, with an emotion of the data set.

        Raises:
          DataError: if the row is invalid, or its emotion is not one of them.
        """
        row = self.interpret(row)
        if not self.emotions or row.emotion in self.emotions:
            return row
        names = ", ".join(self.emotions)
        if is_number(row.emotion):
            raise DataError(
                f"the emotion is the number {row.emotion}; write its name in the "
                f"table, one of {names}: what a number means depends on who wrote it"
            )
        raise DataError(
            f"emotion {row.emotion!r} is not an emotion of {self.title}: {names}"
        )

    def counts_for(self, config: LocalCopyConfig) -> dict[str, Mapping[str, int]]:
        """Returns the published counts that apply to a configuration."""
        if not self.counts_apply(config):
            return {}
        return {
            name: counts
            for name, counts in self.published_counts.items()
            if self.counts_of(name, config)
        }

    def generation(
        self, counts: Mapping[str, int], config: LocalCopyConfig
    ) -> str | None:
        """Returns the generation of the table with these numbers of expressions.

        Args:
          counts: number of expressions by emotion.
          config: the configuration with which they were counted.

        Returns:
          A key of ``published_counts``; None if none has exactly these numbers.
        """
        counts = {emotion: n for emotion, n in counts.items() if n}
        for name, published in self.counts_for(config).items():
            if dict(published) == counts:
                return name
        return None

    @property
    def instructions(self) -> str:
        """How to obtain the data set and where to put it, for the user."""
        table = "the table and " if self.tables else ""
        steps = f"Give the folder with {table}the frames of {self.title}:"
        if self.homepage:
            steps = f"""\
{self.title} is licensed: apply for it at {self.homepage}, sign the
agreement, then download {table}the cropped frames (or the raw ones), unpack
the archives into one folder and give that folder:"""
        return f"""\
{steps}

  python -m datasets.prepare {self.name} --manual_dir=FOLDER

{self.expected_layout}
"""
