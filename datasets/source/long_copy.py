"""The long recordings in a user's folder, and the intervals of the table in them."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from datasets.source.annotations import Annotation, LeftOut, Table, row_label
from datasets.source.local_copy import describe_tables
from datasets.source.long_recordings import (
    Interval,
    LongRecording,
    LongRecordings,
    OtherNumbering,
)
from datasets.source.release_choice import choose_release
from datasets.source.specification import LocalCopyConfig, Specification
from datasets.source.tables import choose_tables
from meranet_jax.errors import DataError


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
      recordings: the recordings by subject and name; none of them was read.
      problems: what is missing, or cannot be read or used.
      notes: what is unusual, and known errors of the table that were corrected.
      table: the tables that were read, as text.
      release: the release that was read, as text.
      choice: notes on the choice of table and release.
      remarks: sentences on the data set for the user.
      missing_tables: names of parts of the table that were not found.
    """

    manual_dir: Path
    recordings: tuple[LongRecording, ...]
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    table: str
    release: str
    choice: tuple[str, ...]
    remarks: tuple[str, ...]
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

    No recording is read: ``long_findings.examine`` does.

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
    problems += [
        Finding("columns that are missing", f"sheet {one.sheet}", one.without["apex"])
        for one in tables
        if "apex" in one.without
    ]
    local, release_notes = choose_release(
        manual_dir, specification, config, [interval.row for interval in intervals]
    )
    of_source: dict[Path, list[Interval]] = collections.defaultdict(list)
    for interval in intervals:
        row = interval.row
        source = local.source(row.subject, row.clip)
        if source is None:
            text = f"there is no folder for it in {local.relative_roots(manual_dir)}"
            problems.append(Finding("rows without a recording", interval.place, text))
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
        recording = LongRecording(
            subject=subject,
            name=local.name_of(source),
            source=source,
            frame_rate=local.release.frame_rate or specification.frame_rate,
            intervals=tuple(found),
        )
        recordings.append(recording)
        if not found:
            text = "the table has no interval in it"
            if source in unread:
                text = "its rows in the table cannot be read"
            notes.append(
                Finding("recordings without an interval", recording.place, text)
            )
    for source in local.duplicates:
        place = f"{source.parent.name}/{source.name}"
        text = "a second folder or video of a recording; it was not read"
        notes.append(Finding("second folders", place, text))
    for source in local.unreadable:
        text = "permission denied for its folder"
        problems.append(Finding("recordings that cannot be read", source.name, text))
    remarks = list(long.remarks)
    if long.other_numbering is not None:
        remark, of_numbering = _compare_numbering(
            long.other_numbering, recordings, manual_dir, (*others, specification)
        )
        remarks.append(remark)
        notes += of_numbering
    return LongCopy(
        manual_dir=manual_dir,
        recordings=tuple(recordings),
        problems=tuple(problems),
        notes=tuple(notes),
        table=describe_tables(tables, manual_dir),
        release=local.describe(manual_dir),
        choice=(*choice, *release_notes),
        remarks=tuple(remarks),
        missing_tables=tuple(missing_tables),
    )


def _read_intervals(
    long: LongRecordings, tables: Sequence[Table]
) -> tuple[list[Interval], list[Finding], list[Finding]]:
    """Returns the intervals of all tables, problems and notes."""
    intervals: list[Interval] = []
    left_out = [entry for table in tables for entry in table.left_out]
    notes: list[Finding] = []
    seen: dict[tuple, Annotation] = {}
    for row in (row for table in tables for row in table.rows):
        try:
            interpreted = long.specification.interpreted(row)
            kind = long.interval_type(interpreted)
            parts = long.intervals(interpreted)
        except DataError as error:
            left_out.append(row.left_out(str(error)))
            continue
        place = f"{row_label(row, tables)}, {row.subject}/{row.clip}"
        notes += [Finding("corrected", place, t) for t in interpreted.corrections]
        if row.uncertain:
            notes.append(Finding("uncertain numbers", place, row.uncertainty))
        for part in parts:
            if isinstance(part, LeftOut):
                left_out.append(part)
                continue
            key = (part.subject, part.clip.casefold(), part.onset, part.offset, kind)
            first = seen.setdefault(key, part)
            if first is not part:
                reason = f"the interval is that of {row_label(first, tables)}"
                left_out.append(row.left_out(reason))
                continue
            intervals.append(
                Interval(
                    row=part,
                    place=place,
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


def _compare_numbering(
    other: OtherNumbering,
    recordings: Sequence[LongRecording],
    manual_dir: Path,
    others: Sequence[Specification],
) -> tuple[str, list[Finding]]:
    """Compares the onsets of micro-expressions with those of another table.

    Args:
      other: the other table.
      recordings: the recordings with their intervals.
      manual_dir: the user's folder.
      others: specifications of further data sets, whose tables are not read.

    Returns:
      A sentence for the user, and a note on each recording with other numbers.
    """
    try:
        tables, _, _ = choose_tables(
            other.specification, LocalCopyConfig(name="clips"), manual_dir, others
        )
    except DataError:  # it is not needed
        return other.remark, []
    onsets = {
        (row.subject, row.clip.casefold()): row.onset
        for table in tables
        for row in table.rows
    }
    compared, notes = 0, []
    for recording in recordings:
        shifts = {
            interval.onset - onsets[key]
            for interval in recording.intervals
            if interval.kind == "micro"
            and (key := (interval.row.subject, interval.row.clip.casefold())) in onsets
        }
        compared += bool(shifts)
        if shifts - {0}:
            by = " or ".join(f"{shift:+d}" for shift in sorted(shifts))
            text = f"onsets differ by {by} from those of {other.specification.title}"
            notes.append(Finding("other frame numbers", recording.place, text))
    remark = (
        f"the frame numbers of {len(notes)} of {compared} recordings with "
        "micro-expressions are not those of "
        f"{describe_tables(tables, manual_dir)}"
    )
    return remark, notes
