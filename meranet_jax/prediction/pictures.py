"""Pictures of the clip of a candidate: its frames, and where the network looks."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meranet_jax.analysis import overlays
from meranet_jax.analysis.saliency import Saliency
from meranet_jax.inputs import registry as inputs
from meranet_jax.prediction import wording
from meranet_jax.prediction.predicting import RecognisedClip
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.recognisers import Network
from meranet_jax.training import precision, step

# Frames of a clip in a strip
_COLUMNS = 8

# Sides in pixels of the pictures of a strip and of an animation
_STRIP_SIDE, _ANIMATION_SIDE = 256, 224

# Width of a strip in inches, and panels of a row whose panels are largest
_WIDTH, _FEWEST_COLUMNS = 11.6, 5

# Inches above the panels of a row, for titles, and at the top
_TITLES, _TOP = 0.35, 0.35

# What a row of a strip has: a title, and a picture or what draws a legend
_Panel = tuple[str, np.ndarray | Callable[[Axes], None]]


@dataclasses.dataclass(frozen=True)
class ClipMaps:
    """Where a network looks in a clip.

    Attributes:
      grad_cam: float32 [T, H, W] at the size of the network's input; T is 1 if the
        input is a single image.
      smooth_grad: likewise.
      flow: float32 [T, H, W, 2] in pixels of the input, if it is the input; else None.
    """

    grad_cam: np.ndarray
    smooth_grad: np.ndarray
    flow: np.ndarray | None


class Explainer:
    """Computes maps of clips with the first model of a recogniser."""

    def __init__(self, recogniser: Recogniser):
        """Prepares the programs, which are compiled when they are first used."""
        self._recogniser = recogniser

    @property
    def explains(self) -> bool:
        """Whether the recogniser has gradients: it is a network."""
        return isinstance(self._recogniser.config.recogniser, Network)

    @functools.cached_property
    def _saliency(self) -> Saliency:
        config = self._recogniser.config.change(remat=False)
        network_input = inputs.find(config.input)
        return Saliency(
            step.make_model(config, num_classes=len(self._recogniser.classes)),
            clip_shape=network_input.shape(config.frames, config.size),
            network_input=network_input,
            decorate=precision.with_precision(config),
        )

    @functools.cached_property
    def _weights(self):
        return next(self._recogniser.weights())

    def maps(self, clip: RecognisedClip) -> ClipMaps:
        """Returns the maps of the most probable class of a clip."""
        stored = self._recogniser.stored(clip.clip.features)
        recognition = clip.event.recognition
        assert recognition is not None
        target = recognition.classes.index(recognition.most_probable)
        found = self._saliency.maps(self._weights, stored[None], [target])
        has_flow = inputs.find(self._recogniser.config.input).flow
        return ClipMaps(
            found.grad_cam[0],
            found.smooth_grad[0],
            stored[..., :2].astype(np.float32) if has_flow else None,
        )


def strip(clip: RecognisedClip, maps: ClipMaps | None) -> Figure:
    """Plots the frames of a clip, its onset and apex, and the maps at the apex.

    Args:
      clip: the clip.
      maps: None if the recogniser has none.
    """
    frames, onset, apex = clip.clip.pictures(_STRIP_SIDE)
    above: list[_Panel] = [
        (f"{clip.clip.clip_times[index]:.3f} s", frames[index])
        for index in _shown(clip.clip.clip_times, clip.clip.apex)
    ]
    below: list[_Panel] = [("onset", onset), ("apex", apex)]
    if maps is not None:
        below += _panels(maps, apex)
    rows = (above, below)
    columns = [max(len(below), _FEWEST_COLUMNS)] * 2
    columns[0] = max(len(above), columns[0])
    heights = [_WIDTH / count + _TITLES for count in columns]
    figure = Figure(figsize=(_WIDTH, sum(heights) + _TOP), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=heights)
    for part, panels, count in zip(parts, rows, columns, strict=True):
        # Rows with fewer panels are centred.
        grid = part.add_gridspec(1, 2 * count)
        first = count - len(panels)
        for place, (name, content) in enumerate(panels):
            left = first + 2 * place
            axes = part.add_subplot(grid[0, left : left + 2])
            axes.set_title(name, fontsize="small")
            if callable(content):
                content(axes)
            else:
                axes.imshow(content)
                axes.set_axis_off()
    figure.suptitle(title(clip), fontsize="medium")
    return figure


def _panels(maps: ClipMaps, apex: np.ndarray) -> Iterator[_Panel]:
    """Yields the maps at the apex, uint8 [H, W, 3], and the legend of their colours."""
    at = len(maps.grad_cam) // 2
    longest = 0.0
    if maps.flow is not None:
        longest = max(float(np.hypot(*np.moveaxis(maps.flow, -1, 0)).max()), 1e-6)
        yield "flow", overlays.flow_colours(maps.flow[at], longest)
    for name, values in (("Grad-CAM", maps.grad_cam), ("SmoothGrad", maps.smooth_grad)):
        enlarged = _enlarged(values[at], len(apex))
        yield name, overlays.blend(apex, enlarged, values.max())
    yield "", functools.partial(_legend, longest=longest)


def _legend(axes: Axes, longest: float) -> None:
    """Draws the colours of the maps and, if it is the input, of the flow.

    Args:
      axes: a square.
      longest: length of the flow with full colour in pixels; 0 without flow.
    """
    axes.set_axis_off()
    axes.set_box_aspect(1)
    bar = axes.inset_axes((0.1, 0.1, 0.1, 0.75))
    overlays.map_legend(bar)
    bar.set_title("maps", fontsize="x-small")
    if longest:
        wheel = axes.inset_axes((0.52, 0.25, 0.42, 0.42))
        overlays.flow_legend(wheel)
        text = f"direction of flow,\nrim: {longest:.2g} px"
        wheel.set_title(text, fontsize="x-small")


def _shown(times: Sequence[float], apex: float) -> list[int]:
    """Returns the frames of a clip that a strip shows, the apex among them.

    Args:
      times: of the frames in seconds; equal where a frame is repeated.
      apex: in seconds.
    """
    _, distinct = np.unique(times, return_index=True)
    places = np.linspace(0, len(distinct) - 1, min(_COLUMNS, len(distinct)))
    shown = distinct[places.round().astype(int)].tolist()
    nearest = int(distinct[np.abs(np.array(times)[distinct] - apex).argmin()])
    if nearest not in shown:
        place = int(np.abs(np.array(shown) - nearest).argmin())
        shown[place] = nearest
    return shown


def title(clip: RecognisedClip) -> str:
    """Describes a candidate in one line."""
    event = clip.event
    text = f"candidate {event.number}, face {event.face}, at {event.apex.time:.2f} s: "
    return text + wording.resemblance(event, None)


def animation(clip: RecognisedClip, maps: ClipMaps | None) -> np.ndarray:
    """Returns the frames of a clip, next to them Grad-CAM, uint8 [T, H', W', 3].

    The map of an input that is a single image is laid over each frame.
    """
    frames, _, _ = clip.clip.pictures(_ANIMATION_SIDE)
    panels = [frames]
    if maps is not None:
        cam = np.stack([_enlarged(one, _ANIMATION_SIDE) for one in maps.grad_cam])
        cam = np.broadcast_to(cam, frames.shape[:3]) if len(cam) == 1 else cam
        panels.append(overlays.blend(frames, cam, cam.max()))
    return np.concatenate(panels, 2)


def _enlarged(values: np.ndarray, size: int) -> np.ndarray:
    """Repeats the pixels of a map [H, W], so that it has ``size`` rows and columns."""
    rows, columns = (np.arange(size) * length // size for length in values.shape)
    return values[rows[:, None], columns]
