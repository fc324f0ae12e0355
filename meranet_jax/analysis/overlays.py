"""Pictures of saliency: maps over the frames of a clip."""

from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from meranet_jax import files
from meranet_jax.analysis.explainer import Shown

# Milliseconds that an animation shows a frame, and the least side of its panels.
_FRAME = 120
_SIDE = 168

# How much of a map is seen where it is greatest.
_OPACITY = 0.75
_COLOURS = "inferno"

# Frames in a row of a strip.
_COLUMNS = 8


def blend(frames: np.ndarray, maps: np.ndarray, greatest: float) -> np.ndarray:
    """Frames under a map, whose greatest value is the most opaque.

    Args:
      frames: uint8 [..., H, W, 3].
      maps: float [..., H, W], from 0.
      greatest: of the whole clip, so that frames can be compared.

    Returns:
      uint8 [..., H, W, 3]. Where the map is 0, the frame in grey.
    """
    share = np.clip(maps / greatest if greatest > 0 else np.zeros_like(maps), 0, 1)
    colours = matplotlib.colormaps[_COLOURS](share)[..., :3] * 255
    grey = frames.mean(-1, keepdims=True)
    opacity = _OPACITY * share[..., None]
    return np.rint((1 - opacity) * grey + opacity * colours).astype(np.uint8)


def overview(columns: dict[str, Sequence[Shown]]) -> Figure:
    """Clips at their apex, and what networks looked at (figure 6 of the paper).

    Args:
      columns: networks by name, each with the same clips.
    """
    rows = len(next(iter(columns.values())))
    panels = 1 + len(columns)
    several = len(columns) > 1
    if not several:
        panels += 1
    figure = Figure(figsize=(2.3 * panels, 2.6 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, panels, squeeze=False)
    for row, shown in enumerate(zip(*columns.values(), strict=True)):
        first = shown[0]
        _panel(grid[row, 0], first.frames[first.apex], first.clip_id, first.truth)
        for column, (name, one) in enumerate(zip(columns, shown, strict=True), 1):
            _map_panel(grid[row, column], one, one.grad_cam, f"{name}, Grad-CAM")
        if not several:
            _map_panel(grid[row, -1], first, first.smooth_grad, "SmoothGrad")
    figure.supxlabel(
        "apex frames; below each input its truth, below each map the prediction",
        fontsize="small",
    )
    return figure


def _panel(axes, picture: np.ndarray, above: str, below: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(above, fontsize="small")
    axes.set_xlabel(below, fontsize="small")
    axes.set(xticks=[], yticks=[])


def _map_panel(axes, shown: Shown, maps: np.ndarray, name: str) -> None:
    picture = blend(shown.frames[shown.apex], maps[shown.apex], maps.max())
    said = f"{shown.predicted} {shown.probability:.2f}"
    if shown.target != shown.predicted:
        said += f"; map of {shown.target}"
    _panel(axes, picture, name, said)
    colour = "#009E73" if shown.predicted == shown.truth else "#D55E00"
    axes.xaxis.label.set_color(colour)
    _outline(axes, shown)


def _outline(axes, shown: Shown, frame: int | None = None) -> None:
    """Where the face has moved, if that is known."""
    if shown.moved is None:
        return
    moved = shown.moved[shown.apex if frame is None else frame]
    if moved.any() and not moved.all():
        axes.contour(moved, [0.5], colors="white", linewidths=0.8)


def strip(shown: Shown) -> Figure:
    """A clip over time: the input, each kind of map, the attention of each block."""
    every = len(shown.frames)
    frames = np.linspace(0, every - 1, min(every, _COLUMNS)).round().astype(int)
    frames[abs(frames - shown.apex).argmin()] = shown.apex
    kinds = {"input": None, "Grad-CAM": shown.grad_cam}
    kinds |= {"SmoothGrad": shown.smooth_grad} | {
        f"attention\n{block.replace('_', '.')}": maps
        for block, maps in shown.attention.items()
    }
    size = (1.25 * len(frames) + 1, 1.3 * len(kinds) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(kinds), len(frames), squeeze=False)
    for row, (kind, maps) in enumerate(kinds.items()):
        for column, frame in enumerate(frames):
            axes, picture = grid[row, column], shown.frames[frame]
            if maps is not None:
                # Of attention what differs is seen; all of it is above nothing.
                above = maps - (maps.min() if kind.startswith("attention") else 0)
                picture = blend(picture, above[frame], above.max())
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if maps is not None:
                _outline(axes, shown, frame)
            if row == 0:
                mark = ", apex" if frame == shown.apex else ""
                axes.set_title(f"frame {frame + 1}{mark}", fontsize="small")
            if column == 0:
                axes.set_ylabel(kind, fontsize="small")
    figure.suptitle(
        f"{shown.clip_id}: {shown.truth}; predicted {shown.predicted} "
        f"{shown.probability:.2f}; maps of {shown.target}",
        fontsize="medium",
    )
    return figure


def animation(shown: Shown) -> np.ndarray:
    """The input, Grad-CAM and SmoothGrad side by side: uint8 [T, H', 3 W', 3]."""
    panels = [shown.frames]
    for maps in (shown.grad_cam, shown.smooth_grad):
        panels.append(blend(shown.frames, maps, maps.max()))
    times = -(-_SIDE // shown.frames.shape[1])
    return np.concatenate(panels, 2).repeat(times, 1).repeat(times, 2)


def file_name(shown: Shown) -> str:
    """A name for files, without what separates folders."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in shown.clip_id)
    return f"seed{shown.job.seed}-{plain}"


def save_animation(pictures: np.ndarray, path: Path) -> None:
    """Write a GIF that goes round, whole or not at all."""
    with files.atomic_write(path) as part:
        imageio.imwrite(part, pictures, extension=".gif", duration=_FRAME, loop=0)
