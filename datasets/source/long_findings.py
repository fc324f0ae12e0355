"""Examination of a long recording: its frames, and the intervals in it."""

import dataclasses
from collections.abc import Iterator

from datasets.source.expressions import video_notes
from datasets.source.long_copy import Finding
from datasets.source.long_recordings import Interval, LongRecording, LongRecordings
from meranet_jax.errors import DataError
from meranet_jax.video.frames import Recording

# Longer intervals are reported, in seconds.
_LONG = 10

# Kinds of findings that are problems; others are notes.
_OUTSIDE = "intervals outside of the frames"
_WITHOUT_FRAMES = "intervals without frames"
_PROBLEMS = frozenset({_OUTSIDE, _WITHOUT_FRAMES})


@dataclasses.dataclass(frozen=True)
class Examined:
    """What was found in a recording, without the list of its frames.

    Attributes:
      recording: the recording.
      frames: number of its frames; 0 if they cannot be listed.
      seconds: time from the first to the last frame, gaps included; None if its frame
        rate is unknown.
      frames_read: number of images that were decoded.
      problems: what is missing, or cannot be read or used.
      notes: what is unusual.
    """

    recording: LongRecording
    frames: int
    seconds: float | None
    frames_read: int
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def examine(long: LongRecordings, recording: LongRecording) -> Examined:
    """Lists the frames of a recording, and decodes the first and the last one.

    Args:
      long: specification of the recordings.
      recording: one of them.
    """
    try:
        frames = recording.frames()
    except DataError as error:
        kind = "recordings that cannot be read"
        problem = Finding(kind, recording.place, str(error))
        return Examined(recording, 0, None, 0, (problem,), ())
    frame_rate = recording.frame_rate
    if frame_rate is None and frames.video is not None:
        frame_rate = frames.video.frame_rate
    frames_read, problems = _read_ends(frames, recording.place)
    notes = []
    for finding in _findings(long, recording, frames, frame_rate):
        (problems if finding.kind in _PROBLEMS else notes).append(finding)
    return Examined(
        recording=recording,
        frames=len(frames.locations),
        seconds=(frames.last - frames.first + 1) / frame_rate if frame_rate else None,
        frames_read=frames_read,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _read_ends(frames: Recording, place: str) -> tuple[int, list[Finding]]:
    """Decodes the first and the last frame; returns their number and problems."""
    ends = sorted({frames.first, frames.last})
    read, problems = 0, []
    # A video is decoded from its start, so both are read in one pass.
    for batch in [ends] if frames.video is not None else [[n] for n in ends]:
        try:
            read += sum(1 for _ in frames.read(batch))
        except (DataError, OSError) as error:
            problems.append(Finding("frames that cannot be read", place, str(error)))
    return read, problems


def _findings(
    long: LongRecordings,
    recording: LongRecording,
    frames: Recording,
    frame_rate: float | None,
) -> Iterator[Finding]:
    """Yields what is wrong or unusual with a recording and its intervals."""
    place = recording.place
    for note in video_notes(frames):
        yield Finding(note.kind, place, note.text)
    numbers = list(frames.locations)
    gaps = [
        (one, other)
        for one, other in zip(numbers, numbers[1:], strict=False)
        if other - one > 1
    ]
    if gaps:
        one, other = max(gaps, key=lambda gap: gap[1] - gap[0])
        missing = frames.last - frames.first + 1 - len(numbers)
        text = (
            f"{missing} frames are missing in {len(gaps)} gaps; the longest is between "
            f"{one} and {other}"
        )
        yield Finding("gaps in the frame numbers", place, text)
    ranges = {long.frame_range(interval.row) for interval in recording.intervals}
    for first, last in sorted(ranges, key=str):
        if first not in (None, frames.first) or last not in (None, frames.last):
            of_table = " to ".join("?" if n is None else str(n) for n in (first, last))
            text = (
                f"the table gives frames {of_table}; found are {frames.first} to "
                f"{frames.last}"
            )
            yield Finding("other frames than in the table", place, text)
    for interval in recording.intervals:
        yield from _interval_findings(interval, recording.name, frames, frame_rate)


def _interval_findings(
    interval: Interval, name: str, frames: Recording, frame_rate: float | None
) -> Iterator[Finding]:
    """Yields what is wrong or unusual with an interval of a recording."""
    onset, apex, offset = interval.onset, interval.apex, interval.offset
    # Without an offset, the apex is the last frame that is known to be of it.
    end = offset
    if end is None:
        end = onset if apex is None else max(onset, apex)
        text = f"the offset is missing in the table; the onset is {onset}"
        yield Finding("offset missing", interval.place, text)
    if onset < frames.first or end > frames.last:
        text = (
            f"frames {onset} to {end}, but those of {name} are {frames.first} to "
            f"{frames.last}"
        )
        yield Finding(_OUTSIDE, interval.place, text)
    else:
        present = sum(onset <= number <= end for number in frames.locations)
        if present < end - onset + 1:
            kind = "frames of intervals missing" if present else _WITHOUT_FRAMES
            text = f"{present} of its frames {onset} to {end} exist"
            yield Finding(kind, interval.place, text)
    if apex is not None and not onset <= apex <= (apex if offset is None else offset):
        text = f"the apex {apex} is outside of onset {onset} to offset {offset}"
        yield Finding("apex outside its interval", interval.place, text)
    if frame_rate and (end - onset + 1) / frame_rate > _LONG:
        text = f"frames {onset} to {end} are {(end - onset + 1) / frame_rate:.1f} s"
        yield Finding("very long", interval.place, text)
