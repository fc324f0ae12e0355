"""Prediction for a recording: its faces, its candidates, and what they resemble."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import cores
from meranet_jax.errors import DataError
from meranet_jax.prediction import events_file, found_faces, notes
from meranet_jax.prediction import recogniser as recognisers
from meranet_jax.prediction.cut import Cut, NotCut
from meranet_jax.prediction.cutting import Cutter, Wanted
from meranet_jax.prediction.found_faces import Clock
from meranet_jax.prediction.imported import ImportedEvent
from meranet_jax.prediction.placement import Placed, check_times, place
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.prediction.recognition import recognise
from meranet_jax.prediction.results import (
    Event,
    Prediction,
)
from meranet_jax.video import spotting
from meranet_jax.video.candidates import Candidate, Settings, kind_of
from meranet_jax.video.intervals import Intervals
from meranet_jax.video.measurement import FaceMotion, Measurement, measure
from meranet_jax.video.stream import Stream, open_stream

# Number of clips that are recognised at a time, so that memory does not grow with the
# number of candidates
_BATCH = 32

# What a stage of the work is called, and how far it is: seconds of the recording.
Progress = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class RecognisedClip:
    """The clip of an event, with what it was recognised as.

    Attributes:
      event: the event.
      clip: its frames.
      recogniser: which recognised it.
    """

    event: Event
    clip: Cut
    recogniser: Recogniser


def predict(
    video: str | Path,
    *,
    run: str | Path | None = None,
    rate: float | None = None,
    face: int | None = None,
    events: Sequence[ImportedEvent] | str | Path | None = None,
    settings: Settings | None = None,
    recogniser: Recogniser | None = None,
    threads: int | None = None,
    on_progress: Progress = lambda stage, seconds: None,
    on_events: Callable[[Sequence[Event]], Collection[int]] = lambda events: (),
    on_clip: Callable[[RecognisedClip], None] = lambda clip: None,
) -> Prediction:
    """Finds faces and candidates in a recording, and says what they resemble.

    Args:
      video: a video, or a folder of numbered images.
      run: a run folder, or a weights file; None for the weights of the package.
      rate: frame rate of a folder of images in Hz.
      face: identity of the only face to look at, see ``FoundFace``; None for all.
      events: intervals that the user has found, which replace the search, or a file
        of them; see ``events_file``.
      settings: of the search for candidates; None for the default.
      recogniser: one that was loaded before, in place of ``run``.
      threads: number of threads; None for one per core.
      on_progress: called with the name of the stage and the time in seconds that was
        reached in the recording.
      on_events: called with all events before they are recognised; returns the numbers
        of those whose clips need pictures for people, see ``Cut.pictures``.
      on_clip: called with the clip of each event that was recognised.

    Raises:
      DataError: if the recording cannot be read, or has no such face; if an event of a
        file is not within it, or could be one of several faces.
      UserError: if the recogniser cannot be used.
    """
    if recogniser is None:
        recogniser = recognisers.load(None if run is None else str(run))
    recording = open_stream(Path(video).expanduser(), rate)
    if isinstance(events, str | Path):
        events = events_file.read(Path(events).expanduser(), recording.source)
    check_times(events or (), recording.duration)
    measured = measure(
        recording,
        threads=threads or cores.count(),
        on_time=lambda seconds: on_progress("motion", seconds),
    )
    clock = Clock(measured)
    motions = _chosen(measured, face, recording.source)
    found_list = [found_faces.describe(one, measured, clock) for one in motions]
    settings = settings or Settings()
    blinks = 0
    if events is None:
        searched = [spotting.search(one, measured, settings) for one in motions]
        blinks = sum(len(one.blinks) for one in searched)
        found = [
            Placed(_event(candidate, one, clock), one, exact=False)
            for one, of_face in zip(motions, searched, strict=True)
            for candidate in of_face.candidates
        ]
    else:
        intervals = {
            one.track.identity: Intervals(one, measured, settings) for one in motions
        }
        found = [place(one, motions, intervals, clock) for one in events]
    found.sort(key=lambda one: (one.event.onset.time, one.event.face))
    found = [
        dataclasses.replace(one, event=dataclasses.replace(one.event, number=number))
        for number, one in enumerate(found, start=1)
    ]
    shown = on_events([one.event for one in found])
    recorded = _recorded_rate(measured)
    small = {one.identity for one in found_list if "too small" in one.problems}
    events = _recognise(
        recording,
        measured,
        clock,
        found,
        small,
        shown,
        recogniser,
        settings,
        recorded,
        on_progress,
        on_clip,
    )
    return Prediction(
        source=recording.source,
        frames=len(measured.all_numbers),
        duration=float(measured.all_times[-1]) if len(measured.all_times) else 0.0,
        frame_rate=recording.frame_rate,
        numbers=measured.numbers,
        times=measured.times,
        all_numbers=measured.all_numbers,
        all_times=measured.all_times,
        faces=tuple(found_list),
        events=tuple(events),
        recogniser=notes.of_recogniser(recogniser),
        notes=tuple(
            notes.of_recording(
                recording, measured, recorded, found_list, recogniser, blinks
            )
        ),
    )


def is_recognised(event: Event) -> bool:
    """Returns whether a clip of an event is asked for: it is brief, or was imported."""
    return event.face > 0 and (event.kind == "micro" or event.origin == "imported")


def _chosen(
    measured: Measurement, face: int | None, source: Path
) -> Sequence[FaceMotion]:
    """Returns the faces to look at."""
    if face is None:
        return measured.faces
    chosen = [one for one in measured.faces if one.track.identity == face]
    if not chosen:
        known = ", ".join(str(one.track.identity) for one in measured.faces)
        raise DataError(
            f"--face={face}: {source.name} has no such face. "
            + (f"Its faces are {known}." if known else "No face was found in it.")
        )
    return chosen


def _recorded_rate(measured: Measurement) -> float | None:
    """Returns the frame rate in Hz that the times of the frames say."""
    if len(measured.all_times) < 2:
        return None
    return 1 / float(np.median(np.diff(measured.all_times)))


def _event(candidate: Candidate, face: FaceMotion, clock: Clock) -> Event:
    onset, offset = clock.moment(candidate.onset), clock.moment(candidate.offset)
    return Event(
        number=0,
        face=face.track.identity,
        onset=onset,
        apex=clock.moment(candidate.apex),
        offset=offset,
        kind=kind_of(offset.time - onset.time),
        origin="spotted",
        regions=candidate.regions,
        strength=candidate.strength,
        noise=candidate.noise,
        head_speed=candidate.head_speed,
        flags=candidate.flags,
    )


def _recognise(
    recording: Stream,
    measured: Measurement,
    clock: Clock,
    found: Sequence[Placed],
    small: Collection[int],
    shown: Collection[int],
    recogniser: Recogniser,
    settings: Settings,
    recorded: float | None,
    on_progress: Progress,
    on_clip: Callable[[RecognisedClip], None],
) -> list[Event]:
    """Returns the events with what those that are brief, or imported, resemble."""
    events = [one.event for one in found]
    asked = [index for index, one in enumerate(found) if is_recognised(one.event)]
    wanted = []
    for index in asked:
        one = found[index]
        assert one.face is not None
        box = found_faces.box_at(one.face, one.event.apex.time) * measured.scale
        wanted.append(
            Wanted(
                one.event.onset.time,
                one.event.apex.time,
                one.event.offset.time,
                box,
                one.exact,
                large=one.event.number in shown,
            )
        )
    if not wanted:
        return events
    cutter = Cutter(
        recording,
        measured,
        recogniser.clip_settings(recorded),
        wanted,
        on_time=lambda seconds: on_progress("recognition", seconds),
    )
    for batch in _batches(cutter.clips()):
        clips = [one for one in batch if isinstance(one, Cut)]
        predicted = recogniser.probabilities([clip.features for clip in clips])
        for clip, of_models in zip(clips, predicted.swapaxes(0, 1), strict=True):
            index = asked[clip.index]
            event = dataclasses.replace(
                events[index],
                apex=clock.at(clip.apex_frame),
                recognition=recognise(
                    events[index],
                    clip,
                    of_models,
                    recogniser,
                    too_small=events[index].face in small,
                    settings=settings,
                ),
            )
            events[index] = event
            on_clip(RecognisedClip(event, clip, recogniser))
        for one in batch:
            if isinstance(one, NotCut):
                index = asked[one.index]
                events[index] = dataclasses.replace(events[index], why=one.reason)
    return events


def _batches(clips: Iterator[Cut | NotCut]) -> Iterator[list[Cut | NotCut]]:
    batch = []
    for one in clips:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
