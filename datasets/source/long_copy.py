"""The long recordings in a user's folder, and the intervals of the table in them."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets.source.annotations import Annotation, LeftOut, Table, row_label
from datasets.source.expressions import video_notes
from datasets.source.local_copy import describe_tables
from datasets.source.long_recordings import Interval, LongRecording, LongRecordings
from datasets.source.release_choice import choose_release
from datasets.source.releases import LocalRelease
from datasets.source.specification import LocalCopyConfig, Specification
from datasets.source.tables import choose_tables
from meranet_jax.errors import DataError
from meranet_jax.video.frames import list_recording

# Longer intervals are reported, in seconds.
_LONG = 10

# Kinds of findings that are problems; others are notes.
_OUTSIDE = "intervals outside of the frames"
_WITHOUT_FRAMES = "intervals without frames"
_PROBLEMS = frozenset({_OUTSIDE, _WITHOUT_FRAMES})


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is missing or unusual in a copy.

    Attributes:
      kind: category, by which the report groups.
      place: row of the table or name of a recording.
      text: description, for the user.
    """

    kind: str
    place: str
    text: str


@dataclasses.dataclass(frozen=True)
class LongCopy:
    """The long recordings in a user's folder.

    Attributes:
      manual_dir: the user's folder.
      recordings: the recordings whose frames can be listed, by subject and name.
      problems: what is missing, or cannot be read or used.
      notes: what is unusual, and known errors of the table that were corrected.
      table: the tables that were read, as text.
      release: the release that was read, as text.
      choice: notes on the choice of table and release.
      missing_tables: names of parts of the table that were not found.
    """

    manual_dir: Path
    recordings: tuple[LongRecording, ...]
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    table: str
    release: str
    choice: tuple[str, ...]
    missing_tables: tuple[str, ...]


def open_long_recordings(
    long: LongRecordings,
    manual_dir: Path,
    *,
    table: tuple[str, ...] = (),
    release: str | None = None,
    others: Sequence[Specification] = (),
) -> LongCopy:
    """Finds the long recordings in a user's folder and assigns intervals to them.

    No frame is decoded.

    Args:
      long: specification of the recordings.
      manual_dir: the user's folder.
      table: names of the tables to read; empty selects the preferred one.
      release: name of the release to read; None selects it.
      others: specifications of other data sets, whose tables are not read.

    Raises:
      DataError: if there is no table, no recording of the table, or no row that can be
        read.
    """
    specification = long.specification
    config = LocalCopyConfig(name="long", crop="none", table=table, release=release)
    tables, missing_tables, choice = choose_tables(
        specification, config, manual_dir, others
    )
    intervals, problems, notes = _read_intervals(long, tables)
    if not intervals:
        raise DataError(
            "\n".join(
                [
                    f"No row of {', '.join(str(one.path) for one in tables)} can be "
                    "read.",
                    *(f"  {one.place}: {one.text}" for one in problems[:5]),
                    f"Check that it is the table of {specification.title}.",
                ]
            )
        )
    local, release_notes = choose_release(
        manual_dir, specification, config, [interval.row for interval in intervals]
    )
    of_source: dict[Path, list[Interval]] = collections.defaultdict(list)
    for interval in intervals:
        row = interval.row
        source = local.source(row.subject, row.clip)
        if source is None:
            text = f"there is no folder for it in {local.relative_roots(manual_dir)}"
            place = _place(row, tables)
            problems.append(Finding("rows without a recording", place, text))
        else:
            of_source[source].append(interval)
    unread = {
        local.source(entry.subject, entry.clip)
        for one in tables
        for entry in one.left_out
    }
    # Those of the table may be found by another name, such as with a suffix.
    subjects = {source: subject for (subject, _), source in local.clips.items()}
    subjects |= {source: found[0].row.subject for source, found in of_source.items()}
    recordings = []
    for source, subject in sorted(subjects.items(), key=lambda item: item[::-1]):
        found = sorted(of_source[source], key=lambda interval: interval.onset)
        recording = _recording(specification, local, subject, source, found, problems)
        if recording is None:
            continue
        recordings.append(recording)
        if not found:
            text = "the table has no interval in it"
            if source in unread:
                text = "its rows in the table cannot be read"
            place = f"{subject}/{recording.name}"
            notes.append(Finding("recordings without an interval", place, text))
        for finding in _findings(long, recording, tables):
            (problems if finding.kind in _PROBLEMS else notes).append(finding)
    for source in local.duplicates:
        place = f"{source.parent.name}/{source.name}"
        text = "a second folder or video of a recording; it was not read"
        notes.append(Finding("second folders", place, text))
    for source in local.unreadable:
        text = "permission denied for its folder"
        problems.append(Finding("recordings that cannot be read", source.name, text))
    return LongCopy(
        manual_dir=manual_dir,
        recordings=tuple(recordings),
        problems=tuple(problems),
        notes=tuple(notes),
        table=describe_tables(tables, manual_dir),
        release=local.describe(manual_dir),
        choice=(*choice, *release_notes),
        missing_tables=tuple(missing_tables),
    )


def _place(row: Annotation, tables: Sequence[Table]) -> str:
    return f"{row_label(row, tables)}, {row.subject}/{row.clip}"


def _read_intervals(
    long: LongRecordings, tables: Sequence[Table]
) -> tuple[list[Interval], list[Finding], list[Finding]]:
    """Returns the intervals of all tables, problems and notes."""
    specification = long.specification
    intervals: list[Interval] = []
    left_out = [entry for table in tables for entry in table.left_out]
    notes: list[Finding] = []
    seen: dict[tuple, Annotation] = {}
    for row in (row for table in tables for row in table.rows):
        try:
            interpreted = specification.interpret(row)
            emotions = specification.emotions
            if emotions and interpreted.emotion not in emotions:
                raise DataError(
                    f"emotion {interpreted.emotion!r} is not an emotion of "
                    f"{specification.title}: {', '.join(emotions)}"
                )
            kind = long.interval_type(interpreted)
            parts = long.intervals(interpreted)
        except DataError as error:
            reason = str(error)
            left_out.append(
                LeftOut(row.table, row.number, row.subject, row.clip, reason)
            )
            continue
        place = _place(row, tables)
        notes += [Finding("corrected", place, t) for t in interpreted.corrections]
        if row.uncertain:
            fields = " and ".join(row.uncertain)
            text = f"the table marks {fields} with a question mark, which was ignored"
            notes.append(Finding("uncertain numbers", place, text))
        for part in parts:
            if isinstance(part, LeftOut):
                left_out.append(part)
                continue
            key = (part.subject, part.clip.casefold(), part.onset, part.offset, kind)
            first = seen.setdefault(key, part)
            if first is not part:
                reason = f"the interval is that of {row_label(first, tables)}"
                left_out.append(
                    LeftOut(row.table, row.number, row.subject, row.clip, reason)
                )
                continue
            intervals.append(
                Interval(
                    row=part,
                    kind=kind,
                    onset=part.onset,
                    apex=part.apex,
                    offset=part.offset,
                    emotion=part.emotion,
                    action_units=part.action_units,
                )
            )
    problems = [
        Finding(
            "rows that cannot be read",
            f"row {entry.row} of {entry.table}, {entry.subject}/{entry.clip}",
            entry.reason,
        )
        for entry in sorted(left_out, key=lambda entry: (entry.table, entry.row))
    ]
    return intervals, problems, notes


def _recording(
    specification: Specification,
    local: LocalRelease,
    subject: str,
    source: Path,
    intervals: Sequence[Interval],
    problems: list[Finding],
) -> LongRecording | None:
    """Lists the frames of a recording; adds to ``problems`` if that is impossible."""
    name = local.name_of(source)
    numbers = {
        number
        for interval in intervals
        for number in (interval.onset, interval.offset)
        if number is not None
    }
    try:
        frames = list_recording(source, numbers)
    except DataError as error:
        problems.append(
            Finding("recordings that cannot be read", f"{subject}/{name}", str(error))
        )
        return None
    frame_rate = local.release.frame_rate or specification.frame_rate
    if frame_rate is None and frames.video is not None:
        frame_rate = frames.video.frame_rate
    return LongRecording(subject, name, frames, frame_rate, tuple(intervals))


def _findings(
    long: LongRecordings, recording: LongRecording, tables: Sequence[Table]
) -> Iterator[Finding]:
    """Yields what is wrong or unusual with a recording and its intervals."""
    frames = recording.frames
    place = f"{recording.subject}/{recording.name}"
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
        yield from _interval_findings(interval, recording, _place(interval.row, tables))


def _interval_findings(
    interval: Interval, recording: LongRecording, place: str
) -> Iterator[Finding]:
    """Yields what is wrong or unusual with an interval."""
    frames = recording.frames
    onset, apex, offset = interval.onset, interval.apex, interval.offset
    # Without an offset, the apex is the last frame that is known to be of it.
    end = offset
    if end is None:
        end = onset if apex is None else max(onset, apex)
        text = f"the offset is missing in the table; the onset is {onset}"
        yield Finding("offset missing", place, text)
    if onset < frames.first or end > frames.last:
        text = (
            f"frames {onset} to {end}, but those of {recording.name} are "
            f"{frames.first} to {frames.last}"
        )
        yield Finding(_OUTSIDE, place, text)
    else:
        present = sum(onset <= number <= end for number in frames.locations)
        if present < end - onset + 1:
            kind = "frames of intervals missing" if present else _WITHOUT_FRAMES
            text = f"{present} of its frames {onset} to {end} exist"
            yield Finding(kind, place, text)
    if apex is not None and not onset <= apex <= (apex if offset is None else offset):
        text = f"the apex {apex} is outside of onset {onset} to offset {offset}"
        yield Finding("apex outside its interval", place, text)
    rate = recording.frame_rate
    if rate and (end - onset + 1) / rate > _LONG:
        text = f"frames {onset} to {end} are {(end - onset + 1) / rate:.1f} s"
        yield Finding("very long", place, text)
