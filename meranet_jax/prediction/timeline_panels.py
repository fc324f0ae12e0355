"""The rows of time of a timeline, and the labels of the candidates in them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from meranet_jax.prediction.results import Event, FoundFace, Prediction

# Recordings of at most so many seconds are one row. The rows of a longer one have the
# shortest of these lengths with which there are few enough.
_ONE_ROW = 20.0
_LENGTHS = (5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)

# Number of rows at most, by the number of faces that are drawn
_MOST_ROWS = {1: 6, 2: 4}
_MOST_ROWS_OF_MORE = 3
MOST_FACES = 4

# Width of a row and of a letter of a label in inches
ROW_WIDTH = 11.0
_LETTER = 0.068

# Labels of rows with more seconds in an inch are numbers alone.
_MOST_SECONDS = 6.0
_MOST_LABEL_LINES = 3


@dataclasses.dataclass(frozen=True)
class Panel:
    """What one face shows in one row of time.

    Attributes:
      start, end: of the row in seconds.
      face: whose motion is drawn; None where no face is drawn in the row.
      events: its candidates in the row.
      labels: centre in seconds, line from 0 and text of the labels.
      omitted: number of events without a label.
    """

    start: float
    end: float
    face: FoundFace | None
    events: tuple[Event, ...]
    labels: tuple[tuple[float, int, str], ...]
    omitted: int

    @property
    def only_numbers(self) -> bool:
        """Whether labels are numbers, for lack of space."""
        return self.end - self.start > _MOST_SECONDS * ROW_WIDTH

    @property
    def lines(self) -> int:
        """Number of lines of labels."""
        return max((line + 1 for _, line, _ in self.labels), default=0)


def drawn(prediction: Prediction) -> list[FoundFace]:
    """Returns the faces that are drawn: those that were seen longest."""
    longest = sorted(prediction.faces, key=lambda face: -face.signals.success.sum())
    return sorted(longest[:MOST_FACES], key=lambda face: face.identity)


def panels(prediction: Prediction, faces: Sequence[FoundFace]) -> Iterator[Panel]:
    """Yields the panels of all rows: of the faces that are seen or have events."""
    duration = max(prediction.duration, 0.1)
    length = _row_length(duration, len(faces))
    for row in range(max(math.ceil(duration / length - 1e-6), 1)):
        start = row * length
        end = start + length
        inside = (prediction.times >= start) & (prediction.times <= end)
        empty = True
        for face in faces:
            events = tuple(
                event
                for event in prediction.events
                if event.face == face.identity
                and event.onset.time <= end
                and event.offset.time >= start
            )
            if events or face.signals.success[inside].any():
                empty = False
                labels, omitted = _labels(events, start, end)
                yield Panel(start, end, face, events, labels, omitted)
        if empty:
            yield Panel(start, end, None, (), (), 0)


def _row_length(duration: float, faces: int) -> float:
    """Returns the length of the rows in seconds."""
    if duration <= _ONE_ROW:
        return duration
    most = _MOST_ROWS.get(max(faces, 1), _MOST_ROWS_OF_MORE)
    for length in _LENGTHS:
        if duration <= length * most:
            return length
    return _LENGTHS[-1] * math.ceil(duration / most / _LENGTHS[-1])


def _labels(
    events: Sequence[Event], start: float, end: float
) -> tuple[tuple[tuple[float, int, str], ...], int]:
    """Places labels above the candidates so that none covers another.

    Where there is no space for an answer there is the number, and otherwise nothing.

    Returns:
      Centre, line and text of each label, and the number of events without one.
    """
    seconds = (end - start) / ROW_WIDTH  # of an inch
    free = [-math.inf] * _MOST_LABEL_LINES
    labels = []
    omitted = 0
    for event in sorted(events, key=lambda one: one.onset.time):
        found = event.recognition
        answer = "" if found is None else found.answer or "no answer"
        texts = [str(event.number)]
        extra = answer or clipped(event.label, 24)
        if extra and seconds <= _MOST_SECONDS:
            texts.insert(0, f"{event.number} {extra}")
        for text in texts:
            half = (len(text) + 1) / 2 * _LETTER * seconds
            centre = (max(event.onset.time, start) + min(event.offset.time, end)) / 2
            centre = min(max(centre, start + half), max(end - half, start + half))
            line = next((i for i, at in enumerate(free) if at <= centre - half), None)
            if line is not None:
                free[line] = centre + half
                labels.append((centre, line, text))
                break
        else:
            omitted += 1
    return tuple(labels), omitted


def clipped(text: str, letters: int) -> str:
    """Returns one line of text with its end left out if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= letters else f"{line[: letters - 3]}..."
