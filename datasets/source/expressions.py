"""An expression of the table, found among the frames on disk."""

import dataclasses

from datasets.source.annotations import Annotation, canonical_subject
from datasets.source.releases import Layout
from meranet_jax.errors import DataError
from meranet_jax.video.frames import Recording, recording

# No expression is so long by far: ten seconds at 200 frames a second.
_LONGEST = 2000


@dataclasses.dataclass(frozen=True)
class Note:
    """Something unusual about an expression that became a record.

    Attributes:
      kind: what it is about, a few words that are the same for all of a kind.
      text: a sentence.
    """

    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class Expression:
    """An expression found in its recording.

    Attributes:
      run: its frames, without those beyond a hole.
      onset: number of its first frame.
      apex: number of its strongest frame.
      offset: number of its last frame.
      apex_estimated: whether the table gives no apex that can be used.
      offset_estimated: whether the table gives no offset.
      notes: what was unusual.
    """

    run: Recording
    onset: int
    apex: int
    offset: int
    apex_estimated: bool
    offset_estimated: bool
    notes: tuple[Note, ...]


def find_expression(layout: Layout, row: Annotation) -> Expression:
    """The frames of a row, and what its table leaves open.

    A missing apex is the middle of onset and offset, as is one outside of them, which
    cannot be right. A missing offset is the last frame where the release ends at the
    offset; in a full recording the expression is taken to fade as long as it rose.

    Raises:
      DataError: if there are no frames, none of the apex, or fewer than half.
    """
    release = layout.release
    source = layout.source(row.subject, row.clip)
    if source is None:
        closed = [path.name for path in layout.closed]
        if row.subject in map(canonical_subject, closed):
            raise DataError("the folder of its subject may not be read")
        raise DataError(f"there is no folder for it in {release.name}")
    found = recording(
        source,
        row.onset,
        row.offset,
        whole=release.whole,
        alone=source not in layout.shared,
    )
    notes = []
    if found.renumbered:
        notes.append(
            Note(
                "files that count from 1",
                f"its {len(found.places)} files count from 1, not from the onset; the "
                f"first was taken as frame {row.onset}",
            )
        )
    offset = row.offset
    if offset is None:
        offset = _estimated_offset(found, row, release.whole)
        notes.append(
            Note("offset estimated", f"no offset is given; {offset} was taken")
        )
    apex, note = _apex(row, offset)
    notes += [note] if note else []
    run = found.around(apex)
    if run is None:
        raise DataError(
            f"its frames {found.first} to {found.last} do not reach the apex {apex}"
        )
    there = sum(row.onset <= number <= offset for number in run.places)
    length = offset - row.onset + 1
    if length > _LONGEST or 2 * there < length:
        raise DataError(
            f"onset to offset is {row.onset} to {offset}, {length} frames; "
            f"{there} of them are there"
        )
    if run.first > row.onset or run.last < offset:
        notes.append(
            Note(
                "frames missing at an end",
                f"frames {run.first} to {run.last} are there, onset to offset is "
                f"{row.onset} to {offset}",
            )
        )
    return Expression(
        run=run,
        onset=row.onset,
        apex=apex,
        offset=offset,
        apex_estimated=apex != row.apex,
        offset_estimated=row.offset is None,
        notes=tuple(notes),
    )


def _estimated_offset(found: Recording, row: Annotation, whole: bool) -> int:
    run = found.around(row.apex)
    last = found.last if run is None else run.last
    offset = min(last, 2 * row.apex - row.onset) if whole else last
    return max(offset, row.apex, row.onset)


def _apex(row: Annotation, offset: int) -> tuple[int, Note | None]:
    """The apex that is taken, and what there is to say of it."""
    middle = (row.onset + offset) // 2
    if row.apex is None:
        text = f"no apex is given; {middle}, the middle, was taken"
        return middle, Note("apex estimated", text)
    if not row.onset <= row.apex <= offset:
        text = (
            f"the apex {row.apex} lies outside of onset {row.onset} to offset "
            f"{offset}; {middle}, the middle, was taken"
        )
        return middle, Note("apex outside its interval", text)
    return row.apex, None
