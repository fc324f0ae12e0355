"""Assignment of an expression in the table to its frames on disk."""

import dataclasses
from collections.abc import Iterator

from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.releases import LocalRelease
from datasets.source.specification import Apex
from meranet_jax.errors import DataError
from meranet_jax.video.frames import Recording, open_recording

# Kinds of notes on an apex that is the middle of onset and offset
APEX_NOTES = ("apex estimated", "apex outside its interval")

# Ten seconds at 200 frames a second; longer expressions are reported.
_LONG = 2000


@dataclasses.dataclass(frozen=True)
class Note:
    """A note for the user on an unusual expression that became a record.

    Attributes:
      kind: category of the note; ``datasets.check`` groups by it and prints it in its
        JSON report.
      text: description of the case.
    """

    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class Expression:
    """An expression that was found in its recording.

    Attributes:
      run: the contiguous run of frames that contains the apex.
      onset: frame number of the onset.
      apex: frame number of the apex.
      offset: frame number of the offset.
      apex_estimated: whether the table gives no usable apex.
      offset_estimated: whether the table gives no usable offset.
      notes: notes on what was unusual.
      key_frames_only: whether there are no images but those of onset, apex and offset.
    """

    run: Recording
    onset: int
    apex: int
    offset: int
    apex_estimated: bool
    offset_estimated: bool
    notes: tuple[Note, ...]
    key_frames_only: bool = False


def find_expression(
    local: LocalRelease, row: Annotation, missing_apex: Apex = "middle"
) -> Expression:
    """Finds the frames of a row and estimates its missing frame numbers.

    The middle of onset and offset, or the nearest frame that exists, replaces a missing
    apex, and an apex outside of that interval, which is invalid. The last frame
    replaces a missing offset if the release ends at the offset; in a full recording the
    expression is assumed to fade as long as it rose. In a release with
    ``ends_at_offset`` the last frame also replaces any other offset.

    If more than two numbers in a row are missing between onset and offset, the run of
    frames that contains the apex is used. All frames count as those of the expression,
    since their numbers say so.

    Args:
      local: the release on disk.
      row: the row of the annotation table.
      missing_apex: ``table`` refuses a row without a usable apex.

    Raises:
      DataError: if there are no frames, no frame at the apex, or fewer than half of the
        frames from onset to offset.
    """
    release = local.release
    source = local.source(row.subject, row.clip)
    if source is None:
        unreadable = [path.name for path in local.unreadable]
        if row.subject in map(canonical_subject, unreadable):
            raise DataError("permission denied for the folder of its subject")
        roots = ", ".join(root.resolve().name for root in local.roots)
        raise DataError(f"there is no folder for it in {roots}")
    found = open_recording(
        source,
        row.onset,
        row.offset,
        apex=row.apex,
        # The numbers of such a release are right, and need no comparison with the
        # offset, which may be wrong.
        full_recording=release.full_recording or release.ends_at_offset,
        single_expression=source not in local.shared,
    )
    notes = [Note("corrected", text) for text in row.corrections]
    notes += [Note("contradictory row", text) for text in row.contradictions]
    if row.gap:
        notes.append(Note("gap in the numbers", row.gap))
    if found.renumbered:
        notes.append(
            Note(
                "files that count from 1",
                f"its {len(found.locations)} files count from 1, not from the onset; "
                f"the first was read as frame {row.onset}",
            )
        )
    notes += video_notes(found)
    if release.full_recording and found.first == 0:
        notes.append(
            Note(
                "files that count from 0",
                "its files count from 0, those of the data set from 1; each was read "
                "as the frame of its number, which may be one too few",
            )
        )
    offset = row.offset
    if offset is None:
        offset = _estimated_offset(found, row, release.full_recording)
        notes.append(
            Note(
                "offset estimated",
                f"no offset is given; {offset} was used",
            )
        )
    elif release.ends_at_offset and (
        found.last != offset or found.last < (row.apex or 0)
    ):
        apex = "no apex" if row.apex is None else f"the apex {row.apex}"
        offset = max(found.last, row.onset)
        notes.append(
            Note(
                "other offset or apex than the files",
                f"the table has {apex} and the offset {row.offset}, but its files end "
                f"at {found.last}, which was used as the offset",
            )
        )
    if row.uncertain:
        notes.append(Note("uncertain numbers", row.uncertainty))
    apex, note = _apex(row, offset)
    if note is not None:
        if missing_apex == "table":
            problem, _, _ = note.text.partition("; ")
            raise DataError(f"{problem}; --apex=table leaves it out")
        if (existing := found.nearest(apex)) != apex:
            text = f"{note.text}; it is missing, and {existing} took its place"
            note, apex = Note(note.kind, text), existing
        notes.append(note)
    # Of three images the middle one is the apex; of onset and offset neither is.
    known = note is None or apex not in (row.onset, offset)
    if known and _has_key_frames_only(found, row.onset, apex, offset):
        text = (
            "only its onset, apex and offset frames exist; it is for inputs that need "
            "no other frames, such as --input=onset_apex_flow"
        )
        notes.append(Note("key frames only", text))
        return Expression(
            run=found,
            onset=row.onset,
            apex=apex,
            offset=offset,
            apex_estimated=apex != row.apex,
            offset_estimated=offset != row.offset,
            notes=tuple(notes),
            key_frames_only=True,
        )
    run = found.contiguous_run(apex)
    if run is None:
        raise DataError(
            f"its frames {found.first} to {found.last} do not include the apex {apex}"
        )
    length = offset - row.onset + 1
    existing = [number for number in found.locations if row.onset <= number <= offset]
    present = len(existing)
    if 2 * present < length:
        raise DataError(
            f"onset to offset is {row.onset} to {offset}, {length} frames; "
            f"{present} of them exist"
        )
    # Beyond a gap, frames do not help a clip whose own run begins after the onset.
    around = sum(row.onset <= number <= offset for number in run.locations)
    if run.first > row.onset and 2 * around < length <= _LONG:
        raise DataError(
            f"onset to offset is {row.onset} to {offset}; the frames around the apex, "
            f"{run.first} to {run.last}, do not reach the onset"
        )
    if length > _LONG:
        text = f"onset to offset is {row.onset} to {offset}, {length} frames"
        notes.append(Note("very long", text))
    if run.first > row.onset or run.last < offset:
        text = f"only frames {run.first} to {run.last} exist"
        if others := [number for number in existing if number not in run.locations]:
            text = (
                f"only frames {run.first} to {run.last}, around the apex, were used; "
                f"{len(others)} others, {others[0]} to {others[-1]}, are beyond a gap "
                "of more than two numbers"
            )
        text += f"; onset to offset is {row.onset} to {offset}"
        notes.append(Note("frames missing at an end", text))
    return Expression(
        run=run,
        onset=row.onset,
        apex=apex,
        offset=offset,
        apex_estimated=apex != row.apex,
        offset_estimated=offset != row.offset,
        notes=tuple(notes),
    )


def _has_key_frames_only(found: Recording, onset: int, apex: int, offset: int) -> bool:
    """Returns whether a folder has the frames at onset and apex and no clip."""
    numbers = set(found.locations)
    few = 2 * len(numbers) < offset - onset + 1
    return few and {onset, apex} <= numbers <= {onset, apex, offset}


def video_notes(found: Recording) -> Iterator[Note]:
    """Yields notes on a video with an unusual course of time."""
    if found.video is None:
        return
    if not found.video.evenly_spaced:
        yield Note(
            "variable frame rate",
            "its frames are not evenly spaced in time; they were numbered by "
            f"presentation time at {found.video.frame_rate:.4g} Hz",
        )
    if found.video.hidden:
        yield Note(
            "hidden frames",
            f"its video hides {found.video.hidden} frames, as after a trim without "
            "encoding; the first that is shown has the number 1",
        )
    if found.video.interlaced:
        yield Note(
            "interlaced",
            "its frames are interlaced: the odd and the even lines of each are of "
            "different times",
        )


def _estimated_offset(found: Recording, row: Annotation, full_recording: bool) -> int:
    run = found.contiguous_run(row.apex)
    last = found.last if run is None else run.last
    offset = min(last, 2 * row.apex - row.onset) if full_recording else last
    return max(offset, row.apex, row.onset)


def _apex(row: Annotation, offset: int) -> tuple[int, Note | None]:
    """Returns the apex, and a note if it is estimated."""
    middle = (row.onset + offset) // 2
    if row.apex is None:
        text = f"no apex is given; the middle, {middle}, was used"
        return middle, Note(APEX_NOTES[0], text)
    if not row.onset <= row.apex <= offset:
        text = (
            f"the apex {row.apex} is outside of onset {row.onset} to offset {offset}; "
            f"the middle, {middle}, was used"
        )
        return middle, Note(APEX_NOTES[1], text)
    return row.apex, None
