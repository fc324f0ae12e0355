"""A picture of a recording over time: motion of each face, and the candidates.

A short recording is one row. A long one is a few rows of equal length; where a row has
more frames than the picture has columns, a column shows the largest motion in it, so
that no brief motion is lost.
"""

import contextlib
import dataclasses
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from meranet_jax.evaluation import figures
from meranet_jax.prediction import wording
from meranet_jax.prediction.results import Event, FoundFace, Prediction
from meranet_jax.video.facial_motion import REGIONS

# Colours of the other figures, from the palette of Okabe and Ito
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "0.45"

# Colour of motion, the same one in all strips, since those of candidates mean something
_MOTION = "0.2"

# Parts of the face from bottom to top, each with a strip of its own, and their labels
_PARTS = {"mouth": "mouth", "nose": "nose", "brow": "brow", "eye": "eyes"}
_PART_OF = {region.name: region.part for region in REGIONS}

# Marks of flags: marker and words
_FLAGS = {
    "blink": ("x", "blink"),
    "head motion": ("^", "head motion"),
    "mouth only": ("s", "mouth only"),
}

# Recordings of at most so many seconds are one row. The rows of a longer one have the
# shortest of these lengths with which there are few enough.
_ONE_ROW = 20.0
_LENGTHS = (5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)

# Number of rows at most, by the number of faces that are drawn
_MOST_ROWS = {1: 6, 2: 4}
_MOST_ROWS_OF_MORE = 3
_MOST_FACES = 4

# Width of the picture and of a row in it, and heights of a strip and of a line of
# labels, in inches
_WIDTH, _ROW_WIDTH, _STRIP, _LABEL = 12.0, 11.0, 0.24, 0.17

# Columns of a row, and width of a letter of a label in inches
_COLUMNS, _LETTER = 1500, 0.068

# Labels of rows with more seconds in an inch are numbers alone.
_MOST_SECONDS = 6.0
_MOST_LABEL_LINES = 3

# Part of a strip's height that the largest motion has
_FILLED = 0.9

# Frames that are so many times the usual distance apart are not connected.
_APART = 4


@dataclasses.dataclass(frozen=True)
class _Panel:
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
    def lines(self) -> int:
        """Number of lines of labels."""
        return max((line + 1 for _, line, _ in self.labels), default=0)


def write(prediction: Prediction, path: Path) -> None:
    """Draws the timeline and writes it as PNG and as SVG.

    Args:
      prediction: what was found.
      path: of the picture; its suffix is replaced.

    Raises:
      OSError: if a file cannot be written.
    """
    with _without_warnings_of_fonts():
        figures.save(draw(prediction), path)


def png(prediction: Prediction) -> bytes:
    """Draws the timeline and returns it as a PNG, for notebooks."""
    content = io.BytesIO()
    with _without_warnings_of_fonts():
        draw(prediction).savefig(content, format="png", dpi=100)
    return content.getvalue()


@contextlib.contextmanager
def _without_warnings_of_fonts() -> Iterator[None]:
    """Ignores letters that the font lacks: boxes in a PNG, and text in an SVG."""
    with warnings.catch_warnings():
        # Of a name in Chinese, for example
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def draw(prediction: Prediction) -> Figure:
    """Draws the motion of the faces with the candidates."""
    frames = len(prediction.times)
    faces = [
        dataclasses.replace(face, signals=face.signals.padded(frames))
        for face in _drawn(prediction)
    ]
    panels = list(_panels(prediction, faces))
    scale = _scale(prediction, faces)
    heights = [
        (len(_PARTS) + 0.6) * _STRIP + panel.lines * _LABEL + 0.05 for panel in panels
    ]
    figure = Figure(
        figsize=(_WIDTH, sum(heights) + 0.42 * _rows(panels) + 1.5),
        layout=ConstrainedLayoutEngine(h_pad=0.02, hspace=0.0),
    )
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for index, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        _draw_panel(axes, panel, prediction, scale)
        last = index + 1 == len(panels) or panels[index + 1].start > panel.start
        axes.tick_params(labelbottom=last, bottom=last)
    notes = _notes(prediction, panels, scale)
    grid[-1].set_xlabel(f"time (s)\n{notes}", fontsize="small")
    # A name or label with dollars is no formula.
    grid[0].set_title(_title(prediction), fontsize="medium", parse_math=False)
    _add_legend(figure, prediction)
    return figure


def _drawn(prediction: Prediction) -> list[FoundFace]:
    """Returns the faces that are drawn: those that were seen longest."""
    longest = sorted(prediction.faces, key=lambda face: -face.signals.success.sum())
    return sorted(longest[:_MOST_FACES], key=lambda face: face.identity)


def _panels(prediction: Prediction, faces: Sequence[FoundFace]) -> Iterator[_Panel]:
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
                yield _Panel(start, end, face, events, labels, omitted)
        if empty:
            yield _Panel(start, end, None, (), (), 0)


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
    seconds = (end - start) / _ROW_WIDTH  # of an inch
    free = [-math.inf] * _MOST_LABEL_LINES
    labels = []
    omitted = 0
    for event in sorted(events, key=lambda one: one.onset.time):
        found = event.recognition
        answer = "" if found is None else found.answer or "no answer"
        texts = [str(event.number)]
        extra = answer or _clipped(event.label, 24)
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


def _draw_panel(
    axes: Axes, panel: _Panel, prediction: Prediction, scale: float
) -> None:
    strips = len(_PARTS)
    height = strips + 0.6 + panel.lines * _LABEL / _STRIP
    axes.set(xlim=(panel.start, panel.end), ylim=(0, height))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False, labelsize="small")
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.3)
    if panel.face is None:
        axes.set_yticks([])
        what = "no face" if prediction.times.size else "no frames"
        middle = ((panel.start + panel.end) / 2, strips / 2)
        axes.text(*middle, what, ha="center", va="center", style="italic")
        _hatch(axes, panel.start, min(panel.end, prediction.duration), strips)
        return
    axes.set_yticks(
        [index + _FILLED / 2 for index in range(strips)],
        _PARTS.values(),
    )
    axes.set_ylabel(f"face {panel.face.identity}", fontsize="small")
    for start, end in _gaps(panel.face, prediction, panel):
        _hatch(axes, start, end, strips)
    _draw_events(axes, panel, strips)
    times, motion = _motion(panel, prediction)
    bounds = [panel.start, min(panel.end, max(prediction.duration, panel.start))]
    for strip, part in enumerate(_PARTS):
        values = np.clip(motion[part] / scale, 0, 1) * _FILLED + strip
        axes.plot(bounds, [strip, strip], color="0.85", linewidth=0.6)
        axes.fill_between(times, strip, values, color=_MOTION, alpha=0.3, linewidth=0)
        axes.plot(times, values, color=_MOTION, linewidth=0.8)


def _draw_events(axes: Axes, panel: _Panel, strips: int) -> None:
    """Draws candidates as spans, their flags as marks, and their labels."""
    for event in panel.events:
        colour, edge = _style(event)
        onset, offset = event.onset.time, event.offset.time
        axes.fill_between([onset, offset], 0, strips, color=colour, alpha=0.25, lw=0)
        # An edge is visible where a span is less than a pixel wide.
        style: dict[str, Any] = {"linestyles": edge, "linewidths": 0.8}
        axes.vlines([onset, offset], 0, strips, colors=colour, **style)
        axes.plot(event.apex.time, strips, "v", color=colour, markersize=4)
        visible = (max(onset, panel.start) + min(offset, panel.end)) / 2
        for index, flag in enumerate(event.flags):
            marker, _ = _FLAGS[flag]
            # Marks of one candidate are next to each other.
            shift = 0.007 * (index - (len(event.flags) - 1) / 2)
            at = visible + shift * (panel.end - panel.start)
            axes.plot(
                at, strips + 0.38, marker, color="black", markersize=3.5, clip_on=False
            )
    for centre, line, text in panel.labels:
        y = strips + 0.6 + line * _LABEL / _STRIP
        style = {"ha": "center", "va": "bottom", "fontsize": "x-small"}
        axes.text(centre, y, text, parse_math=False, **style)


def _style(event: Event) -> tuple[str, Literal["-", "--"]]:
    """Returns colour and line style of a candidate."""
    style: Literal["-", "--"] = "--" if event.origin == "given" else "-"
    return (_BLUE if event.kind == "micro" else _ORANGE), style


def _hatch(axes: Axes, start: float, end: float, strips: int) -> None:
    """Draws a gap in which a face is not seen."""
    if end > start:
        style: dict[str, Any] = {
            "facecolor": "0.93",
            "edgecolor": "0.75",
            "linewidth": 0.0,
        }
        axes.fill_between([start, end], 0, strips, hatch="////", zorder=0.5, **style)


def _gaps(
    face: FoundFace, prediction: Prediction, panel: _Panel
) -> Iterator[tuple[float, float]]:
    """Yields start and end of the times in which a face is not seen."""
    times, seen = prediction.times, np.asarray(face.signals.success, bool)
    # Halfway between frames with and without the face
    edges = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, times[-1:]])
    changes = np.flatnonzero(np.diff(np.concatenate([[1], seen, [1]])))
    for first, last in zip(changes[::2], changes[1::2], strict=True):
        start, end = float(edges[first]), float(edges[last])
        if end > panel.start and start < panel.end:
            yield max(start, panel.start), min(end, panel.end)


def _motion(
    panel: _Panel, prediction: Prediction
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns times [P] and, for each part, its largest motion, float [P].

    Where a row has more frames than columns, a point is a column.
    """
    assert panel.face is not None
    signals = panel.face.signals
    inside = np.flatnonzero(
        (prediction.times >= panel.start) & (prediction.times <= panel.end)
    )
    times = prediction.times[inside]
    motion = {}
    for part in _PARTS:
        regions = [i for i, n in enumerate(signals.regions) if _PART_OF.get(n) == part]
        values = signals.motion[inside][:, regions]
        # fmax ignores NaN, and is NaN where nothing was measured.
        motion[part] = np.fmax.reduce(values, axis=1, initial=np.nan)
    if len(times) > _COLUMNS:
        width = (panel.end - panel.start) / _COLUMNS
        column = ((times - panel.start) / width).astype(int)
        starts = np.flatnonzero(np.diff(column, prepend=-1))
        times = panel.start + (column[starts] + 0.5) * width
        motion = {p: np.fmax.reduceat(v, starts) for p, v in motion.items()}
    if len(times) < 2:
        return times, motion
    # Nothing is known where frames are missing.
    steps = np.diff(times)
    breaks = np.flatnonzero(steps > _APART * np.median(steps)) + 1
    return np.insert(times, breaks, times[breaks]), {
        part: np.insert(values, breaks, np.nan) for part, values in motion.items()
    }


def _scale(prediction: Prediction, faces: Sequence[FoundFace]) -> float:
    """Returns the motion that fills a strip, the same one in all strips.

    It is the strongest candidate, or what all frames but a few are below; a single
    large motion, such as of a head, would make all others invisible.
    """
    largest = [event.strength for event in prediction.events if event.strength]
    for face in faces:
        values = face.signals.motion[np.isfinite(face.signals.motion)]
        if values.size:
            largest.append(float(np.quantile(values, 0.999)))
    return max(largest, default=0.0) or 1.0


def _rows(panels: Sequence[_Panel]) -> int:
    return len({panel.start for panel in panels})


def _title(prediction: Prediction) -> str:
    name = _clipped(wording.file_name(prediction.source), 80)
    count = len(prediction.events)
    return f"{name}: motion of the face, {count or 'no'} candidate{'s' * (count != 1)}"


def _clipped(text: str, letters: int) -> str:
    """Returns one line of text with its end left out if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= letters else f"{line[: letters - 3]}..."


def _notes(prediction: Prediction, panels: Sequence[_Panel], scale: float) -> str:
    """Returns what the reader must know, below the picture."""
    lines = [
        "Most candidates in recordings of people are no micro-expressions; a class is "
        "that of clips which a candidate resembles."
    ]
    if prediction.faces:
        lines.append(
            f"Each strip is {scale / _FILLED:.3f} distances between the eyes high; "
            "higher values are cut off."
        )
    if any(panel.end - panel.start > _MOST_SECONDS * _ROW_WIDTH for panel in panels):
        lines.append("Numbers are those of events.csv, which has the answers.")
    if omitted := sum(panel.omitted for panel in panels):
        lines.append(f"Candidates without a label, for lack of space: {omitted}.")
    if (more := len(prediction.faces) - _MOST_FACES) > 0:
        lines.append(f"Faces not drawn: {more}; frames.csv has them.")
    drawn = {face.identity for face in _drawn(prediction)}
    if hidden := sum(event.face not in drawn for event in prediction.events):
        lines.append(f"Candidates of other faces, not drawn: {hidden}.")
    return "\n".join(lines)


def _add_legend(figure: Figure, prediction: Prediction) -> None:
    """Explains the marks that occur."""
    handles: list[Patch | Line2D] = []
    for kind, text in (("micro", "micro candidate"), ("macro", "macro candidate")):
        for origin in ("spotted", "given"):
            events = [
                event
                for event in prediction.events
                if (event.kind, event.origin) == (kind, origin)
            ]
            if events:
                colour, style = _style(events[0])
                label = f"{text.split()[0]}, given" if origin == "given" else text
                handles.append(
                    Patch(
                        facecolor=(colour, 0.25),
                        edgecolor=colour,
                        linestyle=style,
                        label=label,
                    )
                )
    if prediction.events:
        handles.append(_mark("v", _GREY, "apex"))
    flags = {flag for event in prediction.events for flag in event.flags}
    handles += [
        _mark(marker, "black", text)
        for flag, (marker, text) in _FLAGS.items()
        if flag in flags
    ]
    handles.append(
        Patch(facecolor="0.93", edgecolor="0.75", hatch="////", label="face not seen")
    )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize="small",
    )


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, color=colour, markersize=4, label=label
    )
