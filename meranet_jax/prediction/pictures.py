"""Pictures of the clip of a candidate: its frames, and where the network looks."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from meranet_jax.analysis import overlays
from meranet_jax.analysis.saliency import Saliency
from meranet_jax.inputs import registry as inputs
from meranet_jax.inputs.registry import APEX_FRAME, CLIP, ONSET_FRAME
from meranet_jax.prediction import wording
from meranet_jax.prediction.predicting import RecognisedClip
from meranet_jax.prediction.recogniser import Recogniser
from meranet_jax.recognisers import Network
from meranet_jax.training import precision, step
from meranet_jax.video.images import resize

# Frames of a clip in a strip
_COLUMNS = 8

# Side in pixels to which small pictures of an animation are enlarged
_LEAST_SIDE = 224


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
    features = clip.clip.features
    frames = features[CLIP]
    chosen = _shown(clip.clip.clip_times, clip.clip.apex)
    panels = [("onset", features[ONSET_FRAME]), ("apex", features[APEX_FRAME])]
    if maps is not None:
        size = maps.grad_cam.shape[1]
        at = len(maps.grad_cam) // 2
        apex = resize(features[APEX_FRAME], size)
        if maps.flow is not None:
            longest = max(float(np.hypot(*np.moveaxis(maps.flow, -1, 0)).max()), 1e-6)
            colours = overlays.flow_colours(maps.flow[at], longest)
            panels.append((f"flow, up to {longest:.2g} px", colours))
        for name, values in (
            ("Grad-CAM", maps.grad_cam),
            ("SmoothGrad", maps.smooth_grad),
        ):
            panels.append((name, overlays.blend(apex, values[at], values.max())))
    columns = max(len(chosen), len(panels))
    figure = Figure(figsize=(1.45 * columns, 4.1), layout="constrained")
    above, below = figure.subplots(2, columns)
    for axes in (*above, *below):
        axes.set_axis_off()
    for axes, index in zip(above, chosen, strict=False):
        axes.imshow(frames[index], interpolation="nearest")
        axes.set_title(f"{clip.clip.clip_times[index]:.3f} s", fontsize="small")
    for axes, (name, picture) in zip(below, panels, strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(name, fontsize="small")
    figure.suptitle(title(clip), fontsize="medium")
    return figure


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
    frames = clip.clip.features[CLIP]
    panels = [frames]
    if maps is not None:
        size = frames.shape[1]
        cam = np.stack([_enlarged(one, size) for one in maps.grad_cam])
        cam = np.broadcast_to(cam, frames.shape[:3]) if len(cam) == 1 else cam
        panels.append(overlays.blend(frames, cam, cam.max()))
    scale = -(-_LEAST_SIDE // frames.shape[1])
    return np.concatenate(panels, 2).repeat(scale, 1).repeat(scale, 2)


def _enlarged(values: np.ndarray, size: int) -> np.ndarray:
    """Repeats the pixels of a map [H, W], so that it has ``size`` rows and columns."""
    factor = -(-size // values.shape[0])
    return values.repeat(factor, 0).repeat(factor, 1)[:size, :size]
