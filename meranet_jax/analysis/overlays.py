"""Plots and animations of saliency maps over the frames of a clip."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from meranet_jax import files
from meranet_jax.analysis.explainer import ExplainedClip

# Milliseconds of each frame of an animation, and the minimum side of its panels.
_FRAME_DURATION = 120
_MIN_SIDE = 168

# Colours of a GIF, and pixels by which they are chosen
_GIF_COLOURS, _PALETTE_PIXELS = 256, 50_000

# Opacity of a map at its maximum, and its colour map.
_OPACITY = 0.75
_COLOUR_MAP = "inferno"

# Maximum number of frames in a row of a strip.
_MAX_COLUMNS = 8

# Width of a wide letter and height of a line of a strip's title in inches
_TITLE_LETTER, _TITLE_LINE = 0.09, 0.2


def blend(frames: np.ndarray, maps: np.ndarray, maximum: float) -> np.ndarray:
    """Blends saliency maps over frames.

    Args:
      frames: uint8 [..., H, W, 3].
      maps: float [..., H, W], not negative.
      maximum: the maximum of the maps over the complete clip, which makes frames
        comparable. It gets the highest opacity.

    Returns:
      uint8 [..., H, W, 3]; where a map is 0, the frame in grey.
    """
    scaled = np.clip(maps / maximum if maximum > 0 else np.zeros_like(maps), 0, 1)
    colours = matplotlib.colormaps[_COLOUR_MAP](scaled)[..., :3] * 255
    grey = frames.mean(-1, keepdims=True)
    opacity = _OPACITY * scaled[..., None]
    return np.rint((1 - opacity) * grey + opacity * colours).astype(np.uint8)


def flow_colours(flow: np.ndarray, maximum: float) -> np.ndarray:
    """Shows flow as colours: hue is its direction, saturation its length.

    Args:
      flow: (u, v), float [..., H, W, 2].
      maximum: the length that gets full saturation.

    Returns:
      uint8 [..., H, W, 3]; white where nothing moves.
    """
    length = (
        np.linalg.norm(flow, axis=-1) / maximum if maximum > 0 else 0 * flow[..., 0]
    )
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    colours = np.stack([hue, np.clip(length, 0, 1), np.ones_like(hue)], -1)
    return np.rint(matplotlib.colors.hsv_to_rgb(colours) * 255).astype(np.uint8)


def map_legend(axes) -> None:
    """Draws the colours of a map from 0, at the bottom, to its maximum."""
    values = np.linspace(1, 0, 256)[:, None]
    grey = np.full((256, 1, 3), 128, np.uint8)
    axes.imshow(blend(grey, values, 1), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=[], yticks=[0, 1], yticklabels=["0", "largest"])
    axes.tick_params(labelsize="x-small")


def flow_legend(axes) -> None:
    """Draws the colours of all directions, at their maximum length on the rim."""
    y, x = np.mgrid[-1:1:101j, -1:1:101j]
    wheel = flow_colours(np.stack([x, y], -1), 1)
    outside = np.hypot(x, y) > 1
    picture = np.dstack([wheel, np.where(outside, 0, 255).astype(np.uint8)])
    axes.imshow(picture, extent=(-1, 1, 1, -1))
    axes.set_axis_off()


def _longest(flow: np.ndarray) -> float:
    """Returns the length that the longest vectors of a clip have, without outliers."""
    return float(np.quantile(np.linalg.norm(flow, axis=-1), 0.995))


def overview(columns: dict[str, Sequence[ExplainedClip]]) -> Figure:
    """Plots apex frames of clips with the maps of networks (figure 6 of the paper).

    With a single network there is a column of Grad-CAM and one of SmoothGrad, otherwise
    one of Grad-CAM for each network. If the input is optical flow, a column between the
    frames and the maps shows it.

    Args:
      columns: the same clips for each network by its name.
    """
    clips = next(iter(columns.values()))
    rows, has_flow = len(clips), any(clip.flow is not None for clip in clips)
    several = len(columns) > 1
    maps = 1 + has_flow  # index of the first column of maps
    panels = maps + (len(columns) if several else 2)
    figure = Figure(figsize=(2.3 * panels, 2.6 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, panels, squeeze=False)
    for row, by_network in enumerate(zip(*columns.values(), strict=True)):
        first = by_network[0]
        _panel(grid[row, 0], first.frames[first.apex], first.clip_id, first.truth)
        if first.flow is not None:
            _flow_panel(grid[row, 1], first)
        for column, (name, one) in enumerate(
            zip(columns, by_network, strict=True), maps
        ):
            _map_panel(grid[row, column], one, one.grad_cam, f"{name}, Grad-CAM")
        if not several:
            _map_panel(grid[row, -1], first, first.smooth_grad, "SmoothGrad")
    figure.supxlabel(
        "apex frames with their true class, and maps with the predicted class",
        fontsize="small",
    )
    return figure


def _panel(axes, picture: np.ndarray, above: str, below: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(above, fontsize="small")
    axes.set_xlabel(below, fontsize="small")
    axes.set(xticks=[], yticks=[])


def _flow_panel(axes, clip: ExplainedClip) -> None:
    longest = _longest(clip.flow)
    picture = flow_colours(clip.flow[clip.apex], longest)
    _panel(axes, picture, "flow", f"full colour: {longest:.2g} pixels")
    flow_legend(axes.inset_axes((0.77, 0.01, 0.22, 0.22)))
    _outline(axes, clip, colour="black")


def _map_panel(axes, clip: ExplainedClip, maps: np.ndarray, name: str) -> None:
    picture = blend(clip.frames[clip.apex], maps[clip.apex], maps.max())
    label = f"{clip.predicted} {clip.probability:.2f}"
    if clip.target != clip.predicted:
        label += f"; map of {clip.target}"
    _panel(axes, picture, name, label)
    colour = "#009E73" if clip.predicted == clip.truth else "#D55E00"
    axes.xaxis.label.set_color(colour)
    _outline(axes, clip)


def _outline(
    axes, clip: ExplainedClip, frame: int | None = None, colour: str = "white"
) -> None:
    """Outlines where the face moved, if the record says so."""
    if clip.motion is None:
        return
    motion = clip.motion[clip.apex if frame is None else frame]
    if motion.any() and not motion.all():
        axes.contour(motion, [0.5], colors=colour, linewidths=0.8)


def strip(clip: ExplainedClip) -> Figure:
    """Plots the frames of a clip, each kind of map, and the attention of each block.

    Long clips are reduced to some frames, among them the apex.
    """
    total = len(clip.frames)
    frames = np.linspace(0, total - 1, min(total, _MAX_COLUMNS)).round().astype(int)
    frames[abs(frames - clip.apex).argmin()] = clip.apex
    kinds = {"frames": None, "Grad-CAM": clip.grad_cam}
    if clip.flow is not None:
        longest = _longest(clip.flow)
        kinds = {"frames": None, "flow": clip.flow, "Grad-CAM": clip.grad_cam}
    kinds |= {"SmoothGrad": clip.smooth_grad} | {
        f"attention\n{block.replace('_', '.')}": maps
        for block, maps in clip.attention.items()
    }
    columns = len(frames) + (clip.flow is not None)  # the last one for the legend
    width = 1.25 * columns + 1
    title = textwrap.wrap(
        f"{clip.clip_id}: {clip.truth}; predicted {clip.predicted} "
        f"{clip.probability:.2f}; maps of {clip.target}",
        int(width / _TITLE_LETTER),
    )
    height = 1.3 * len(kinds) + 0.7 + _TITLE_LINE * len(title)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(kinds), columns, squeeze=False)
    if clip.flow is not None:
        for row, kind in enumerate(kinds):
            grid[row, -1].set_axis_off()
            if kind == "flow":
                flow_legend(grid[row, -1])
                grid[row, -1].set_title(f"{longest:.2g} pixels", fontsize="x-small")
    for row, (kind, maps) in enumerate(kinds.items()):
        for column, frame in enumerate(frames):
            axes, picture = grid[row, column], clip.frames[frame]
            if kind == "flow":
                picture = flow_colours(clip.flow[frame], longest)
            elif maps is not None:
                # Attention is never 0, so its minimum is subtracted to show contrast.
                scaled = maps - (maps.min() if kind.startswith("attention") else 0)
                picture = blend(picture, scaled[frame], scaled.max())
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if maps is not None:
                colour = "black" if kind == "flow" else "white"
                _outline(axes, clip, frame, colour)
            if row == 0:
                mark = ", apex" if frame == clip.apex else ""
                axes.set_title(f"frame {frame + 1}{mark}", fontsize="small")
            if column == 0:
                axes.set_ylabel(kind, fontsize="small")
    figure.suptitle("\n".join(title), fontsize="medium")
    return figure


def animation(clip: ExplainedClip) -> np.ndarray:
    """Returns frames, Grad-CAM and SmoothGrad side by side, uint8 [T, H', 3 W', 3].

    If the input is optical flow, it is between the frames and Grad-CAM. Small clips are
    enlarged by a whole number.
    """
    panels = [clip.frames]
    if clip.flow is not None:
        panels.append(flow_colours(clip.flow, _longest(clip.flow)))
    for maps in (clip.grad_cam, clip.smooth_grad):
        panels.append(blend(clip.frames, maps, maps.max()))
    scale = -(-_MIN_SIDE // clip.frames.shape[1])
    return np.concatenate(panels, 2).repeat(scale, 1).repeat(scale, 2)


def file_name(clip: ExplainedClip) -> str:
    """Returns a file name without suffix for a clip, without path separators."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in clip.clip_id)
    return f"seed{clip.job.seed}-{plain}"


def save_animation(pictures: np.ndarray, path: Path) -> None:
    """Writes an animated GIF that repeats forever, atomically.

    All pictures have the same 256 colours, so that no colour changes where nothing
    moves.

    Args:
      pictures: uint8 [T, H, W, 3].
      path: the file.
    """
    reduced = _with_one_palette(pictures)
    with files.atomic_write(path) as part:
        imageio.imwrite(
            part, reduced, extension=".gif", duration=_FRAME_DURATION, loop=0
        )


def _with_one_palette(pictures: np.ndarray) -> np.ndarray:
    """Replaces the colours of pictures, uint8 [T, H, W, 3], by 256 that suit them all.

    The colours are chosen on some pixels, since all of them would take seconds.
    """
    every = max(int(np.sqrt(pictures.size / 3 / _PALETTE_PIXELS)), 1)
    palette = _in_a_column(pictures[:, ::every, ::every]).quantize(_GIF_COLOURS)
    reduced = _in_a_column(pictures).quantize(palette=palette, dither=Image.Dither.NONE)
    return np.asarray(reduced.convert("RGB")).reshape(pictures.shape)


def _in_a_column(pictures: np.ndarray) -> Image.Image:
    """Returns pictures, uint8 [T, H, W, 3], as one: each below the one before."""
    return Image.fromarray(pictures.reshape(-1, *pictures.shape[2:]))
