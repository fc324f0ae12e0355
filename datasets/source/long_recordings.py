"""Long recordings, in which expressions are spotted, with the intervals of these."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datasets.source.annotations import Annotation, LeftOut
from datasets.source.specification import Specification
from meranet_jax.video.frames import Recording, list_recording

TYPES = ("micro", "macro")


@dataclasses.dataclass(frozen=True)
class OtherNumbering:
    """Another table with the same expressions, whose frame numbers may differ.

    Attributes:
      specification: its data set.
      remark: sentence for the report if the user's folder does not contain it.
    """

    specification: Specification
    remark: str


@dataclasses.dataclass(frozen=True)
class LongRecordings:
    """Specification of the long recordings of a data set.

    ``datasets/NAME/long_recordings.py`` has it as ``LONG_RECORDINGS``.

    Attributes:
      specification: the tables, columns and releases. ``interpret`` returns a row with
        its final emotion; ``emotions`` is empty if the tables have none.
      interval_type: returns ``micro`` or ``macro``; raises DataError if a row says
        neither.
      intervals: returns the intervals of a row as rows of their own, and as LeftOut
        those that cannot be read.
      frame_range: numbers of the first and the last frame of a row's recording that
        the table gives, None if it does not.
      recordings: published number of recordings, None if it is unknown.
      labelled: published number of recordings with an interval, None if it is unknown.
      published: published number of intervals by type.
      published_emotions: published number of intervals by type and emotion; types
        whose numbers are unknown are missing.
      remarks: sentences on the data set that the report repeats.
      other_numbering: another table, with which the frame numbers of
        micro-expressions of the same subject and clip are compared.
    """

    specification: Specification
    interval_type: Callable[[Annotation], str] = lambda row: "micro"
    intervals: Callable[[Annotation], Sequence[Annotation | LeftOut]] = lambda row: (
        row,
    )
    frame_range: Callable[[Annotation], tuple[int | None, int | None]] = lambda row: (
        None,
        None,
    )
    recordings: int | None = None
    labelled: int | None = None
    published: Mapping[str, int] = dataclasses.field(default_factory=dict)
    published_emotions: Mapping[str, Mapping[str, int]] = dataclasses.field(
        default_factory=dict
    )
    remarks: tuple[str, ...] = ()
    other_numbering: OtherNumbering | None = None

    @property
    def instructions(self) -> str:
        """Where to put the recordings, for the user."""
        return (
            f"Give the folder with the table and the long recordings of "
            f"{self.specification.title}:\n\n"
            f"  python -m datasets.check {self.specification.name} --long "
            f"--manual_dir=FOLDER\n\n{self.specification.expected_layout}"
        )


@dataclasses.dataclass(frozen=True)
class Interval:
    """An expression in a long recording.

    Attributes:
      row: the row of the table.
      place: description of the row, for messages.
      kind: ``micro`` or ``macro``.
      onset: frame number of the onset.
      apex: frame number of the apex, None if the table does not give it.
      offset: frame number of the offset, None if the table does not give it.
      emotion: emotion as in the table, empty if it has none.
      action_units: action units as in the table.
    """

    row: Annotation
    place: str
    kind: str
    onset: int
    apex: int | None
    offset: int | None
    emotion: str
    action_units: str


@dataclasses.dataclass(frozen=True)
class LongRecording:
    """A recording of a subject, and the expressions in it.

    Attributes:
      subject: canonical name of the subject.
      name: name of its folder, or of its video without suffix.
      source: the folder or the video.
      frame_rate: of the data set's recordings in Hz; None if it is unknown.
      intervals: the intervals by onset; empty if the table has no row for it.
    """

    subject: str
    name: str
    source: Path
    frame_rate: float | None
    intervals: tuple[Interval, ...]

    @property
    def place(self) -> str:
        """Subject and name, for messages."""
        return f"{self.subject}/{self.name}"

    def frames(self) -> Recording:
        """Lists the frames.

        The list has hundreds of bytes for each frame, and a data set has millions: do
        not keep those of many recordings.

        Raises:
          DataError: if there is no frame, it cannot be read, or the frame numbers are
            ambiguous.
        """
        numbers = {
            number
            for interval in self.intervals
            for number in (interval.onset, interval.offset)
            if number is not None
        }
        return list_recording(self.source, numbers)
