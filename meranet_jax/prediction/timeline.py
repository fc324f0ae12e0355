"""A picture of a recording over time: motion of each face, and the candidates.

A short recording is one row. A long one is a few rows of equal length; where a row has
more frames than the picture has columns, a column shows the largest motion in it, so
that no brief motion is lost.
"""

import contextlib
import dataclasses
import io
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
from meranet_jax.prediction import timeline_panels, wording
from meranet_jax.prediction.results import Event, FoundFace, Prediction
from meranet_jax.prediction.timeline_panels import Panel
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

# Width of the picture, and heights of a strip and of a line of labels, in inches
_WIDTH, _STRIP, _LABEL = 12.0, 0.24, 0.17

# Columns of a row
_COLUMNS = 1500

# Part of a strip's height that the largest motion has
_FILLED = 0.9

# Frames that are so many times the usual distance apart are not connected.
_APART = 4


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
    """Ignores letters that the font does not have: boxes in PNG, text in SVG."""
    with warnings.catch_warnings():
        # Of a name in Chinese, for example
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def draw(prediction: Prediction) -> Figure:
    """Draws the motion of the faces with the candidates."""
    frames = len(prediction.times)
    faces = [
        dataclasses.replace(face, signals=face.signals.padded(frames))
        for face in timeline_panels.drawn(prediction)
    ]
    panels = list(timeline_panels.panels(prediction, faces))
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


def _draw_panel(axes: Axes, panel: Panel, prediction: Prediction, scale: float) -> None:
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


def _draw_events(axes: Axes, panel: Panel, strips: int) -> None:
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
    style: Literal["-", "--"] = "--" if event.origin == "imported" else "-"
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
    face: FoundFace, prediction: Prediction, panel: Panel
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
    panel: Panel, prediction: Prediction
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


def _rows(panels: Sequence[Panel]) -> int:
    return len({panel.start for panel in panels})


def _title(prediction: Prediction) -> str:
    name = timeline_panels.clipped(wording.file_name(prediction.source), 80)
    count = len(prediction.events)
    return f"{name}: motion of the face, {count or 'no'} candidate{'s' * (count != 1)}"


def _notes(prediction: Prediction, panels: Sequence[Panel], scale: float) -> str:
    """Returns what the reader must know, below the picture."""
    lines = [
        "Most candidates in recordings of people are not micro-expressions; a class is "
        "that of clips which a candidate resembles."
    ]
    if prediction.faces:
        lines.append(
            f"Each strip is {scale / _FILLED:.3f} distances between the eyes high; "
            "higher values are cut off."
        )
    if any(panel.only_numbers for panel in panels):
        lines.append("Numbers are those of events.csv, which has the answers.")
    if omitted := sum(panel.omitted for panel in panels):
        lines.append(f"Candidates without a label, for lack of space: {omitted}.")
    if (more := len(prediction.faces) - timeline_panels.MOST_FACES) > 0:
        lines.append(f"Faces not drawn: {more}; frames.csv has them.")
    drawn = {face.identity for face in timeline_panels.drawn(prediction)}
    if hidden := sum(event.face not in drawn for event in prediction.events):
        lines.append(f"Candidates of other faces, not drawn: {hidden}.")
    return "\n".join(lines)


def _add_legend(figure: Figure, prediction: Prediction) -> None:
    """Explains the marks that occur."""
    handles: list[Patch | Line2D] = []
    for kind, text in (("micro", "micro candidate"), ("macro", "macro candidate")):
        for origin in ("spotted", "imported"):
            events = [
                event
                for event in prediction.events
                if (event.kind, event.origin) == (kind, origin)
            ]
            if events:
                colour, style = _style(events[0])
                label = f"{text.split()[0]}, imported" if origin == "imported" else text
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
