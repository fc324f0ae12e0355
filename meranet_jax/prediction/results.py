"""What is found in a recording: faces, candidates, and what they resemble.

Wording matters here. A class is that of the clips which a candidate resembles, never
what a person feels, and most candidates in recordings of people are not
micro-expressions.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from meranet_jax.video.candidates import Flag, Kind

# Whether a candidate was found by its motion, or read from a file (--events).
Origin = Literal["spotted", "imported"]

# What makes the motion of a face unreliable.
Problem = Literal["too small", "turned away", "shaking"]


@dataclasses.dataclass(frozen=True)
class Moment:
    """An instant of a recording.

    Attributes:
      time: in seconds after the first frame.
      frame: number of the frame that is shown, from 1; of a folder, the number in the
        name of the file.
    """

    time: float
    frame: int


@dataclasses.dataclass(frozen=True)
class Recognition:
    """What a candidate resembles.

    Attributes:
      classes: names of the C classes of the recogniser.
      probabilities: of each class, calibrated if the run has a calibration.
      plausible: classes of the conformal set, which has the class of a clip of a new
        person with the probability of the calibration; None without a calibration.
      frames: number of frames of the clip.
      distinct: number of different frames of the recording among them.
      reasons: why there is no answer; empty if there is one.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    plausible: tuple[str, ...] | None
    frames: int
    distinct: int
    reasons: tuple[str, ...]

    @property
    def most_probable(self) -> str:
        """The class with the largest probability, answered or not."""
        return self.classes[int(np.argmax(self.probabilities))]

    @property
    def answer(self) -> str | None:
        """The class that the candidate resembles; None if there is no answer."""
        return None if self.reasons else self.most_probable


@dataclasses.dataclass(frozen=True)
class Event:
    """A candidate: an interval in which a face moves briefly.

    Attributes:
      number: from 1, in the order of onsets.
      face: identity of the face, from 1; 0 if none was seen, of an event that was
        imported.
      onset, apex, offset: when it begins, is strongest and ends.
      kind: ``micro`` if it takes at most 0.5 s.
      origin: how it was found.
      regions: names of the regions of the face that move, strongest first; left and
        right are those of the picture. Empty if nothing was measured.
      strength: largest rise of a region, in distances between the eyes; None if
        nothing was measured.
      noise: deviation that this region shows all the time, in the same unit.
      head_speed: largest speed of the head, in distances between the eyes a second.
      flags: what else happens, which may be the reason for the motion.
      label: of an event that was imported, the user's name of it; else empty.
      recognition: what it resembles; None if there is no recogniser, it is macro, or
        its clip could not be cut.
      why: why its clip could not be cut; empty otherwise.
    """

    number: int
    face: int
    onset: Moment
    apex: Moment
    offset: Moment
    kind: Kind
    origin: Origin
    regions: tuple[str, ...]
    strength: float | None
    noise: float | None
    head_speed: float | None
    flags: tuple[Flag, ...]
    label: str = ""
    recognition: Recognition | None = None
    why: str = ""

    def __str__(self) -> str:
        """Returns a line for people, without the decimal places of ``repr``."""
        # wording imports this module.
        from meranet_jax.prediction import wording

        return wording.line(self, None, several=True).strip()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why there is no answer; empty if there is one, or none is looked for."""
        if self.recognition is not None:
            return self.recognition.reasons
        return (self.why,) if self.why else ()

    @property
    def duration(self) -> float:
        """From onset to offset, in seconds."""
        return self.offset.time - self.onset.time


@dataclasses.dataclass(frozen=True, repr=False)
class FaceSignals:
    """What was measured of a face, in N frames one after another that were analysed.

    They begin with the first that shows it and end with the last.

    Attributes:
      first: index of the first of them among all frames that were analysed.
      confidence: score of the nearest detection, 0 to 1, and 0 where there was none;
        float [N].
      success: whether the face was seen, bool [N].
      box: left, top, right and bottom in pixels of the picture, float [N, 4]; NaN where
        the face was not seen.
      motion: of each of the R regions of ``regions``, since the stillest moment near;
        of the eyes, from where they are most of the time. In distances between the
        eyes; float [N, R], NaN where it was not measured.
      head_speed: in distances between the eyes a second, float [N], NaN likewise.
      regions: names of the regions.
    """

    first: int
    confidence: np.ndarray
    success: np.ndarray
    box: np.ndarray
    motion: np.ndarray
    head_speed: np.ndarray
    regions: tuple[str, ...]

    def __repr__(self) -> str:
        """Returns sizes, since the arrays have thousands of numbers."""
        return (
            f"<FaceSignals of {len(self.success)} frames, {len(self.regions)} regions>"
        )

    def padded(self, frames: int) -> "FaceSignals":
        """Returns the same for all frames of a recording, unseen in the others.

        Args:
          frames: number of frames that were analysed.
        """
        after = frames - self.first - len(self.success)

        def pad(values: np.ndarray, value: float | bool) -> np.ndarray:
            widths = [(self.first, after), *[(0, 0)] * (values.ndim - 1)]
            return np.pad(values, widths, constant_values=value)

        return FaceSignals(
            0,
            pad(self.confidence, 0.0),
            pad(self.success, False),
            pad(self.box, np.nan),
            pad(self.motion, np.nan),
            pad(self.head_speed, np.nan),
            self.regions,
        )


@dataclasses.dataclass(frozen=True)
class FoundFace:
    """A face of a recording.

    Attributes:
      identity: from 1, in the order of appearance.
      first, last: when it was seen first and last.
      eye_distance: median distance between its eyes in pixels.
      problems: what makes its motion unreliable in most of the recording.
      signals: what was measured of it, which ``repr`` leaves out.
    """

    identity: int
    first: Moment
    last: Moment
    eye_distance: float
    problems: tuple[Problem, ...]
    signals: FaceSignals = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class RecogniserDescription:
    """The recogniser of a prediction.

    Attributes:
      source: name of the run folder or of the weights file, without its folders,
        which are private.
      title: for people, such as ``MERANet, input onset_apex_flow``.
      trained_on: names of its data sets.
      frame_rates: of the recordings of these in Hz, ascending; empty if unknown.
      models: number of models, each of which is calibrated by itself.
      coverage: least probability that the conformal set of a new person's clip has its
        class; None without a calibration.
      observed_coverage: share of clips of people that were left out whose set had it;
        None if it is not known.
      limits: sentences of the model card that belong to each answer.
    """

    source: str
    title: str
    trained_on: tuple[str, ...]
    frame_rates: tuple[float, ...]
    models: int
    coverage: float | None
    observed_coverage: float | None
    limits: tuple[str, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction:
    """Everything that was found in a recording.

    Attributes:
      source: the video, or the folder of frames.
      frames: number of its frames.
      duration: time of its last frame in seconds after the first.
      frame_rate: in Hz, as the file or the user gives it; None if neither does.
      numbers: numbers of the N frames that were analysed, int [N].
      times: of these frames in seconds, float [N].
      all_numbers, all_times: the same of every frame, int and float [frames].
      faces: in the order of appearance.
      events: the candidates of these faces, in the order of onsets.
      recogniser: which classified the candidates; None if they were only spotted.
      notes: sentences about the recording that the user should read.
    """

    source: Path
    frames: int
    duration: float
    frame_rate: float | None
    numbers: np.ndarray
    times: np.ndarray
    all_numbers: np.ndarray
    all_times: np.ndarray
    faces: tuple[FoundFace, ...]
    events: tuple[Event, ...]
    recogniser: RecogniserDescription | None
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Returns a line, since the arrays have thousands of numbers."""
        from meranet_jax.prediction import report_text

        return f"<Prediction of {report_text.headline(self)}>"

    def __str__(self) -> str:
        """Returns what is found, with a line for each candidate, and the notes."""
        # report_text imports this module.
        from meranet_jax.prediction import report_text

        return report_text.summary(self)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the timeline and the candidates."""
        # Imports Matplotlib, which only a notebook needs here.
        from meranet_jax.prediction import html_view

        return html_view.describe(self)
