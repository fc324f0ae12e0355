"""Pictures of candidates: frames, maps and the legend of their colours."""

import numpy as np
import pytest

from meranet_jax.inputs.registry import APEX_FRAME, CLIP, ONSET_FRAME
from meranet_jax.prediction import pictures
from meranet_jax.prediction.cut import Cut
from meranet_jax.prediction.pictures import ClipMaps
from meranet_jax.prediction.predicting import RecognisedClip
from tests.meranet_jax.prediction.predictions import event

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (5, 28, 28, 3), np.uint8)
FEATURES = {CLIP: FRAMES, ONSET_FRAME: FRAMES[0], APEX_FRAME: FRAMES[2]}
MAPS = RNG.random((1, 14, 14), np.float32)


def clip(frames):
    """A clip of five frames, of which the recording has some."""
    times = tuple(frame / 30 for frame in frames)
    cut = Cut(0, FEATURES, 0.1, frames, times, frames[0], frames[2], 60.0)
    return RecognisedClip(event(1, 0.0, 0.1, 0.2), cut, None)


@pytest.mark.parametrize(
    ("frames", "distinct"), [((1, 2, 3, 4, 5), 5), ((1, 1, 3, 3, 3), 2)]
)
@pytest.mark.parametrize("flow", [None, np.ones((1, 14, 14, 2), np.float32)])
def test_a_strip_has_a_legend_and_no_empty_place(frames, distinct, flow):
    maps = ClipMaps(MAPS, MAPS, flow)
    above, below = pictures.strip(clip(frames), maps).subfigs
    assert len(above.axes) == distinct
    assert all(axes.images for axes in above.axes)
    *shown, legend = below.axes
    names = ["onset", "apex", *(["flow"] if flow is not None else [])]
    names += ["Grad-CAM", "SmoothGrad"]
    assert [axes.get_title() for axes in shown] == names
    assert all(axes.images for axes in shown)
    parts = {axes.get_title(): axes for axes in legend.child_axes}
    assert [t.get_text() for t in parts["maps"].get_yticklabels()] == ["0", "largest"]
    assert any("1.4 px" in name for name in parts) == (flow is not None)


def test_without_maps_there_is_no_legend():
    above, below = pictures.strip(clip((1, 2, 3, 4, 5)), None).subfigs
    assert [axes.get_title() for axes in below.axes] == ["onset", "apex"]
    # Their panels are as large as those of the frames, in the middle.
    widths = {
        round(axes.get_subplotspec().get_position(part).width, 6)
        for part in (above, below)
        for axes in part.axes
    }
    assert len(widths) == 1
    assert pictures.animation(clip((1, 2, 3, 4, 5)), None).shape == (5, 224, 224, 3)
