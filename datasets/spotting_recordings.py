"""Recordings with known intervals, on which the spotting of expressions is measured."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import long_check, prepare
from datasets.source.long_copy import open_long_recordings
from datasets.source.long_recordings import LongRecording
from datasets.synthetic import long_video, spotting_sets
from datasets.synthetic.long_video import LongVideoConfig
from meranet_jax.errors import DataError
from meranet_jax.video.frames import list_recording


@dataclasses.dataclass(frozen=True)
class TrueInterval:
    """An expression in a recording.

    Attributes:
      kind: ``micro`` or ``macro``.
      label: its emotion; empty if it is unknown.
      onset: number of its first frame.
      offset: number of its last frame, which is included.
    """

    kind: str
    label: str
    onset: int
    offset: int


@dataclasses.dataclass(frozen=True)
class OpenedRecording:
    """A recording that can be read.

    Attributes:
      source: the video, or the folder of images.
      rate: frame rate of a folder in Hz; None for a video, which has its own.
      first: number of the first frame.
      frame_rate: by which frames are numbered, in Hz: the frame that is shown ``t``
        seconds after the first has the number ``first + t * frame_rate``, rounded.
      seconds: length.
      intervals: the expressions, by onset.
    """

    source: Path
    rate: float | None
    first: int
    frame_rate: float
    seconds: float
    intervals: tuple[TrueInterval, ...]


@dataclasses.dataclass(frozen=True)
class SpottingRecording:
    """A recording that is made or opened when it is needed.

    Attributes:
      group: name of its set, or of its data set.
      name: within the group.
      settings: text that differs between recordings with another content.
      labelled: whether it has micro-expressions with an emotion.
      open: makes or opens it; a video that is made is written to the given folder.
    """

    group: str
    name: str
    settings: str
    labelled: bool
    open: Callable[[Path], OpenedRecording]


@dataclasses.dataclass(frozen=True)
class RecordingList:
    """The recordings of a table.

    Attributes:
      recordings: by group and name.
      titles: what each group is, by its name.
      notes: sentences for the user, on what is missing, too.
    """

    recordings: tuple[SpottingRecording, ...]
    titles: dict[str, str]
    notes: tuple[str, ...]


def generated(
    names: Sequence[str] = (),
    *,
    minutes: float | None = None,
    seeds: int | None = None,
) -> RecordingList:
    """Returns the generated recordings; see ``spotting_sets.videos``."""
    chosen = spotting_sets.videos(names, minutes=minutes, seeds=seeds)
    total = sum(config.seconds for _, config in chosen) / 60
    frames = sum(round(config.seconds * config.rate) for _, config in chosen)
    return RecordingList(
        tuple(of_video(name, config) for name, config in chosen),
        {name: spotting_sets.SETS[name].title for name, _ in chosen},
        (f"{len(chosen)} videos of {total:.3g} minutes together, {frames} frames",),
    )


def of_video(group: str, config: LongVideoConfig) -> SpottingRecording:
    """Returns the recording of a generated video.

    Args:
      group: name of its set.
      config: what happens in it; its seed is its name.
    """
    return SpottingRecording(
        group=group,
        name=f"seed{config.seed}",
        settings=json.dumps(dataclasses.asdict(config)),
        labelled=config.expressions > 0,
        open=functools.partial(_render, config),
    )


def _render(config: LongVideoConfig, folder: Path) -> OpenedRecording:
    path = folder / "video.mp4"
    events = long_video.render(path, config)
    intervals = tuple(
        TrueInterval("micro", event.label, *event.frames(config.rate))
        for event in events
        if event.kind == "expression"
    )
    return OpenedRecording(path, None, 1, config.rate, config.seconds, intervals)


def licensed(
    name: str,
    manual_dir: str | Path | None,
    *,
    table: tuple[str, ...] = (),
    release: str | None = None,
) -> RecordingList:
    """Returns the long recordings in the user's copy of a data set.

    Args:
      name: of the data set.
      manual_dir: folder of the copy.
      table: names of the tables to read; empty selects the preferred one.
      release: name of the release to read; None selects it.

    Raises:
      DataError: if the data set has no long recordings, or the table or the recordings
        are missing.
    """
    long = long_check.specification_of(name)
    prepare.check_manual_dir(name, manual_dir, long.instructions)
    assert manual_dir is not None
    copy = open_long_recordings(
        long,
        Path(manual_dir).expanduser(),
        table=table,
        release=release,
        others=prepare.other_specifications(name),
    )
    notes = [f"table: {copy.table}", f"release: {copy.release}", *copy.choice]
    notes += [f"{part} was not found" for part in copy.missing_tables]
    notes += [f"{one.kind}: {one.place}: {one.text}" for one in copy.problems]
    unknown = sum(
        interval.offset is None
        for recording in copy.recordings
        for interval in recording.intervals
    )
    if unknown:
        notes.append(
            f"intervals without an offset in the table: {unknown}. Each ends at its "
            "apex, or at its onset if that is missing, too."
        )
    return RecordingList(
        tuple(_of_copy(name, one) for one in copy.recordings),
        {name: long.specification.title},
        tuple(notes),
    )


def _of_copy(dataset: str, recording: LongRecording) -> SpottingRecording:
    intervals = tuple(
        TrueInterval(
            interval.kind,
            interval.emotion,
            interval.onset,
            # The last frame that is known to be of it
            max(
                interval.onset,
                interval.offset
                if interval.offset is not None
                else (interval.apex or interval.onset),
            ),
        )
        for interval in recording.intervals
    )
    return SpottingRecording(
        group=dataset,
        name=recording.place,
        settings=json.dumps(
            [
                str(recording.source.resolve()),
                recording.frame_rate,
                *map(dataclasses.astuple, intervals),
            ]
        ),
        labelled=any(one.kind == "micro" and one.label for one in intervals),
        open=lambda folder: _open(recording, intervals),
    )


def _open(
    recording: LongRecording, intervals: tuple[TrueInterval, ...]
) -> OpenedRecording:
    """Lists the frames of a recording of a copy.

    Raises:
      DataError: if they cannot be listed, their numbers are ambiguous, or the frame
        rate is unknown.
    """
    frames = recording.frames()
    rate = recording.frame_rate
    if frames.video is not None and frames.video.frame_rate is not None:
        rate = frames.video.frame_rate
    if rate is None:
        raise DataError(
            f"The frame rate of {recording.place} is unknown: neither the data set nor "
            "the file gives it. Write the frames to a video with the right one."
        )
    if frames.video is None:
        # The tables' numbers, and those by which a stream of the folder gives times
        plain = list_recording(recording.source)
        if plain.last - plain.first != frames.last - frames.first:
            raise DataError(
                f"The images of {recording.place} have several numbers in their names, "
                "and it is unclear which is that of the frame. Leave only that."
            )
    return OpenedRecording(
        source=recording.source,
        rate=rate if frames.video is None else None,
        first=frames.first,
        frame_rate=rate,
        seconds=(frames.last - frames.first + 1) / rate,
        intervals=intervals,
    )
