"""Events of files, placed in a recording and described by what moves in them."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from meranet_jax.errors import DataError
from meranet_jax.prediction.found_faces import Clock
from meranet_jax.prediction.imported import ImportedEvent
from meranet_jax.prediction.results import Event, Moment
from meranet_jax.video import candidates
from meranet_jax.video.intervals import Intervals
from meranet_jax.video.measurement import FaceMotion

# Seconds by which an offset may lie after the last frame, since a program may count the
# time that this frame is shown
_AFTER = 0.1

# Seconds between a face that was detected and an event that it shows
_NEAR = 0.6


@dataclasses.dataclass(frozen=True)
class Placed:
    """An event of a file in its recording.

    Attributes:
      event: without a number and a recognition.
      face: that shows it; None if no face was seen at that time.
      exact: whether the file has its apex, too.
    """

    event: Event
    face: FaceMotion | None
    exact: bool


def check_times(events: Iterable[ImportedEvent], duration: float | None) -> None:
    """Refuses events after the end of a recording before it is measured.

    Args:
      events: of a file.
      duration: of the recording in seconds, as the file gives it; None if it does not.

    Raises:
      DataError: if one ends later.
    """
    for one in events:
        end = one.offset if one.unit == "seconds" else 0.0
        if duration is not None and end > duration + 1.0:
            raise DataError(
                f"The event from {one.onset:g} to {one.offset:g} s ends after the "
                f"recording, which has {duration:.2f} s. Times are seconds after its "
                "first frame; columns onset_frame and offset_frame are for numbers of "
                "frames."
            )


def place(
    imported: ImportedEvent,
    faces: Sequence[FaceMotion],
    intervals: Mapping[int, Intervals],
    clock: Clock,
) -> Placed:
    """Places an event of a file in a recording.

    Args:
      imported: the event.
      faces: those that are looked at.
      intervals: describes intervals of each face, by its identity.
      clock: of the recording.

    Raises:
      DataError: if the event is not within the recording, has a face that is not among
        those, or can be one of several.
    """
    onset = _moment(imported.onset, imported, clock)
    offset = _moment(imported.offset, imported, clock)
    apex = None if imported.apex is None else _moment(imported.apex, imported, clock)
    for name, number in imported.frames.items():
        at = {"onset": onset, "apex": apex, "offset": offset}[name]
        if at is not None and at.frame != number:
            raise DataError(
                f"The event from {imported.onset:g} to {imported.offset:g} s: its "
                f"{name} at {at.time:.3f} s is frame {at.frame}, but {name}_frame is "
                f"{number}. Correct the wrong one, or remove one of the columns."
            )
    face = _face(imported, onset, offset, faces)
    found = None
    if face is not None:
        of_face = intervals[face.track.identity]
        found = of_face.describe(onset.time, offset.time)
    if apex is None:
        middle = (onset.time + offset.time) / 2
        apex = clock.moment(middle if found is None else found.apex)
    event = Event(
        number=0,
        face=0 if face is None else face.track.identity,
        onset=onset,
        apex=apex,
        offset=offset,
        kind=candidates.kind_of(offset.time - onset.time),
        origin="imported",
        regions=() if found is None else found.regions,
        strength=None if found is None else found.strength,
        noise=None if found is None else found.noise,
        head_speed=None if found is None else found.head_speed,
        flags=() if found is None else found.flags,
        label=imported.label,
        why="" if face is not None else "no face was seen at that time",
    )
    return Placed(event, face, imported.apex is not None)


def _moment(value: float, imported: ImportedEvent, clock: Clock) -> Moment:
    if imported.unit == "frames":
        found = clock.of_frame(int(value))
        if found is None:
            raise DataError(
                f"The event from frame {imported.onset:g} to {imported.offset:g}: the "
                f"recording has no frame {value:g}. Its frames are "
                f"{clock.first.frame} to {clock.last.frame}."
            )
        return found
    if value > clock.last.time + max(_AFTER, clock.step):
        raise DataError(
            f"The event from {imported.onset:g} to {imported.offset:g} s ends after "
            f"the last frame of the recording, at {clock.last.time:.3f} s. Times are "
            "seconds after its first frame; columns onset_frame and offset_frame are "
            "for numbers of frames."
        )
    return clock.moment(value)


def _face(
    imported: ImportedEvent, onset: Moment, offset: Moment, faces: Sequence[FaceMotion]
) -> FaceMotion | None:
    """Returns the face that shows an event."""
    if imported.face is not None:
        known = ", ".join(str(one.track.identity) for one in faces) or "none"
        faces = [one for one in faces if one.track.identity == imported.face]
        if not faces:
            raise DataError(
                f"The event at {onset.time:.3f} s is of face {imported.face}, but the "
                f"faces of the recording that are looked at are: {known}."
            )
    seen = [
        one
        for one in faces
        if any(
            onset.time - _NEAR <= d.time <= offset.time + _NEAR
            for d in one.track.detections
        )
    ]
    if len(seen) > 1:
        known = ", ".join(str(one.track.identity) for one in seen)
        raise DataError(
            f"The event at {onset.time:.3f} s can be one of the faces {known}. Say "
            "which in a column face, or with --face for all events."
        )
    return seen[0] if seen else None
