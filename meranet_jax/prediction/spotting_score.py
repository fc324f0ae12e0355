"""Scores of spotted candidates in a recording whose expressions are known."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from meranet_jax import cores, megc2019
from meranet_jax.evaluation import metrics, spotting
from meranet_jax.evaluation.spotting import Interval, SpottingCounts
from meranet_jax.prediction import predicting
from meranet_jax.prediction.found_faces import Clock
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.prediction.results import Recognition
from meranet_jax.video.measurement import measure
from meranet_jax.video.spotting import spot
from meranet_jax.video.stream import open_stream

# Stands for the class of a candidate whose clip could not be cut.
NO_CLASS = "-"


class TrueInterval(Protocol):
    """An expression in a recording.

    Attributes:
      kind: ``micro`` or ``macro``.
      label: its emotion; empty if it is unknown.
      onset: number of its first frame.
      offset: number of its last frame, which is included.
    """

    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def onset(self) -> int: ...
    @property
    def offset(self) -> int: ...


class OpenedRecording(Protocol):
    """A recording that can be read.

    Attributes:
      source: the video, or the folder of images.
      rate: frame rate of a folder in Hz; None for a video, which has its own.
      first: number of the first frame.
      frame_rate: by which frames are numbered, in Hz: the frame that is shown ``t``
        seconds after the first has the number ``first + t * frame_rate``, rounded.
      seconds: length.
      intervals: the expressions.
    """

    @property
    def source(self) -> Path: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def first(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def intervals(self) -> Sequence[TrueInterval]: ...


@dataclasses.dataclass(frozen=True)
class Score:
    """Counts of one or several recordings.

    Attributes:
      micro: of annotated micro-expressions and all micro candidates.
      unflagged: of annotated micro-expressions and micro candidates without a flag.
      macro: of annotated macro-expressions and macro candidates.
      right, no_answer, wrong: number of matched micro candidates of a known class by
        the recogniser's answer.
      pairs: number of these by their class and the most probable one, answered or not;
        the latter is ``NO_CLASS`` if their clip could not be cut.
    """

    micro: SpottingCounts = SpottingCounts()
    unflagged: SpottingCounts = SpottingCounts()
    macro: SpottingCounts = SpottingCounts()
    right: int = 0
    no_answer: int = 0
    wrong: int = 0
    pairs: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )

    def __add__(self, other: "Score") -> "Score":
        """Returns the score of the recordings of both."""
        return Score(
            self.micro + other.micro,
            self.unflagged + other.unflagged,
            self.macro + other.macro,
            self.right + other.right,
            self.no_answer + other.no_answer,
            self.wrong + other.wrong,
            self.pairs + other.pairs,
        )

    @property
    def recognised(self) -> int:
        """Number of matched micro candidates of a known class."""
        return self.right + self.no_answer + self.wrong

    @property
    def recognition_f1(self) -> float | None:
        """UF1 of the most probable classes; None if no candidate has a known class.

        A candidate whose clip could not be cut is missed by its class, and none of any
        other class.
        """
        names = sorted({name for pair in self.pairs for name in pair})
        if not names:
            return None
        confusion = np.zeros((len(names), len(names)), np.int64)
        for (true, predicted), number in self.pairs.items():
            confusion[names.index(true), names.index(predicted)] += number
        return float(metrics.uf1(confusion))

    @property
    def strs(self) -> float | None:
        """Spot-then-recognise score; None if no candidate has a known class."""
        f1 = self.recognition_f1
        return None if f1 is None else spotting.strs(self.micro.f1, f1)


@dataclasses.dataclass(frozen=True)
class ScoredRecording:
    """The score of a recording.

    Attributes:
      score: its counts.
      frames: number of its frames.
      analysed: number of those that were analysed, at most 30 a second.
      faces: number of faces that were found in it.
    """

    score: Score
    frames: int
    analysed: int
    faces: int


@dataclasses.dataclass(frozen=True)
class _Found:
    """A candidate; its interval has numbers of frames, both ends included."""

    kind: str
    interval: Interval
    flagged: bool
    recognition: Recognition | None


def score(
    opened: OpenedRecording,
    recogniser: Recogniser | None,
    *,
    on_progress: predicting.Progress = lambda stage, seconds: None,
) -> ScoredRecording:
    """Spots in a recording, and compares candidates with its expressions.

    Args:
      opened: the recording.
      recogniser: of matched candidates; None if only spotting is scored.
      on_progress: see ``predicting.predict``.

    Raises:
      DataError: if the recording cannot be read.
      UserError: if the recogniser cannot be used.
    """
    if recogniser is None:
        found, frames, analysed, faces = _spot(opened, on_progress)
    else:
        found, frames, analysed, faces = _predict(opened, recogniser, on_progress)
    minutes = opened.seconds / 60
    true = {
        kind: [one for one in opened.intervals if one.kind == kind]
        for kind in ("micro", "macro")
    }
    spans = {
        kind: [(one.onset, one.offset) for one in of_kind]
        for kind, of_kind in true.items()
    }
    of_kind = {
        kind: [one for one in found if one.kind == kind] for kind in ("micro", "macro")
    }
    micro = of_kind["micro"]
    unflagged = [one.interval for one in micro if not one.flagged]
    counts = Score(
        micro=spotting.count(spans["micro"], [o.interval for o in micro], minutes),
        unflagged=spotting.count(spans["micro"], unflagged, minutes),
        macro=spotting.count(
            spans["macro"], [o.interval for o in of_kind["macro"]], minutes
        ),
    )
    if recogniser is not None:
        pairs = spotting.match(spans["micro"], [one.interval for one in micro])
        for index, candidate in pairs:
            name = class_of(true["micro"][index].label, recogniser.classes)
            if name is not None:
                counts += _recognised(name, micro[candidate].recognition)
    return ScoredRecording(counts, frames, analysed, faces)


def class_of(label: str, classes: Sequence[str]) -> str | None:
    """Returns the class of an emotion; None if the recogniser has none for it.

    Args:
      label: the emotion.
      classes: of the recogniser. If the emotion is none of them, its class of MEGC
        2019 is taken.
    """
    if label in classes:
        return label
    name = megc2019.class_of(label) if label else None
    return name if name in classes else None


def _recognised(name: str, recognition: Recognition | None) -> Score:
    """Returns the score of a matched candidate of a class."""
    answer = None if recognition is None else recognition.answer
    predicted = NO_CLASS if recognition is None else recognition.most_probable
    return Score(
        right=int(answer == name),
        no_answer=int(answer is None),
        wrong=int(answer not in (None, name)),
        pairs=collections.Counter({(name, predicted): 1}),
    )


def _interval(opened: OpenedRecording, onset: float, offset: float) -> Interval:
    """Returns the first and the last frame of an interval in seconds."""
    return (
        opened.first + round(onset * opened.frame_rate),
        opened.first + round(offset * opened.frame_rate),
    )


def _spot(
    opened: OpenedRecording, on_progress: predicting.Progress
) -> tuple[list[_Found], int, int, int]:
    """Returns candidates, and the number of frames, of analysed ones and of faces."""
    measured = measure(
        open_stream(opened.source, opened.rate),
        threads=cores.count(),
        on_time=lambda seconds: on_progress("motion", seconds),
    )
    clock = Clock(measured)
    found = []
    for face in measured.faces:
        for one in spot(face, measured):
            onset, offset = clock.moment(one.onset).time, clock.moment(one.offset).time
            interval = _interval(opened, onset, offset)
            found.append(_Found(one.kind, interval, bool(one.flags), None))
    frames = len(measured.all_numbers)
    return found, frames, len(measured.numbers), len(measured.faces)


def _predict(
    opened: OpenedRecording, recogniser: Recogniser, on_progress: predicting.Progress
) -> tuple[list[_Found], int, int, int]:
    """Returns what ``_spot`` does, with what the candidates resemble."""
    prediction = predicting.predict(
        opened.source, rate=opened.rate, recogniser=recogniser, on_progress=on_progress
    )
    found = [
        _Found(
            one.kind,
            _interval(opened, one.onset.time, one.offset.time),
            bool(one.flags),
            one.recognition,
        )
        for one in prediction.events
    ]
    analysed = len(prediction.numbers)
    return found, prediction.frames, analysed, len(prediction.faces)
