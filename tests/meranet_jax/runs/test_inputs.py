"""Complete runs on inputs other than the frames."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from meranet_jax.analysis import explainer, overlays
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow, registry
from meranet_jax.runs import merge, reader, verification
from meranet_jax.training import fitters, trainers
from tests.meranet_jax.loading import load, smallest
from tests.meranet_jax.running import run

pytestmark = pytest.mark.e2e

OPENCV = cv2.__version__

# Inputs with the frames of the clip and with one, that store frames and flow, and all
# augmentations that they can have
CASES = {
    "difference": ("shift", "brightness", "drop"),
    "flow": ("rotate", "scale", "speed"),
    "onset_apex_flow": ("shift",),
}


@pytest.fixture(scope="module", params=CASES)
def opened(request, records, tmp_path_factory):
    """A finished run on an input, opened again."""
    config = smallest(
        tmp_path_factory.mktemp("runs"),
        input=request.param,
        augment=CASES[request.param],
    )
    path = run(config, load(records, network_input=registry.find(config.input)))
    finished = dataclasses.replace(reader.read(path), records=[records])
    return verification.open_run(finished, None)


def test_predictions_are_recomputed(opened):
    assert verification.check_predictions(opened.run, None) < 1e-5


@pytest.mark.parametrize(
    "opened",
    [
        "flow",
        *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "flow"),
    ],
    indirect=True,
)
def test_streamed_clips_give_the_same_run(opened, records, tmp_path):
    config = opened.run.config.change(runs_dir=str(tmp_path), feed="records")
    clips = load(records, network_input=registry.find(config.input), feed="records")
    again = reader.read(run(config, clips))
    first, second = (
        next(iter(of_run.finished().values()))[1] for of_run in (opened.run, again)
    )
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-6)


@pytest.fixture
def other_opencv(monkeypatch):
    monkeypatch.setattr(cv2, "__version__", "4.9.9")


def test_flow_of_another_library_gives_a_warning(opened, other_opencv, capsys):
    verification.open_run(opened.run, None)
    warning = (
        f"Warning: the optical flow of {opened.run.path} was computed with libraries "
        f"OpenCV {OPENCV}, not OpenCV 4.9.9."
    )
    has_flow = opened.run.config.input != "difference"
    assert (warning in capsys.readouterr().err) == has_flow


def test_the_run_describes_its_flow(opened):
    saved = json.loads(opened.run.layout.config.read_text())["data"]
    if opened.run.config.input == "difference":
        assert "flow" not in saved
    else:
        assert saved["flow"] == optical_flow.describe()


@pytest.mark.parametrize("opened", ["flow"], indirect=True)
def test_flow_of_two_libraries_is_not_mixed(opened, records, monkeypatch, tmp_path):
    """A run is not resumed, nor its parts merged, with flow of another library."""
    config = opened.run.config.change(runs_dir=str(tmp_path))
    clips = load(records, network_input=registry.find(config.input))
    path = tmp_path / opened.run.path.name
    shutil.copytree(opened.run.path, path)
    saved = json.loads((path / "config.json").read_text())
    del saved["data"]["flow"]
    (path / "config.json").write_text(json.dumps(saved))
    assert run(config, clips) == path  # an older version did not save it
    content = (path / "config.json").read_bytes()
    monkeypatch.setattr(cv2, "__version__", "4.9.9")
    message = f"computed with libraries OpenCV {OPENCV}, not OpenCV 4.9.9. Use the"
    with pytest.raises(UserError, match=message):
        run(config, clips)
    assert (path / "config.json").read_bytes() == content
    other = run(config.change(seed=1, name="other"), clips)
    with pytest.raises(UserError, match=f"optical flow .libraries OpenCV {OPENCV}, n"):
        merge.merge([reader.read(path), reader.read(other)], tmp_path / "merged")


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param("difference", marks=pytest.mark.slow),  # drawn as frames are
        *("flow", "onset_apex_flow"),
    ],
    indirect=True,
)
def test_saliency_is_drawn_over_frames(opened):
    name = opened.run.config.input
    explain = explainer.Explainer(opened)
    one, *_ = explain.explain_all(explainer.test_clips(opened, None, 2))
    frames = 1 if name == "onset_apex_flow" else 8
    assert one.frames.shape == (frames, 16, 16, 3)
    assert one.grad_cam.shape == one.smooth_grad.shape == one.motion.shape
    assert one.grad_cam.shape == (frames, 16, 16)
    index = opened.clips.clip_ids.index(one.clip_id)
    if "flow" in name:
        np.testing.assert_array_equal(one.flow, opened.clips.inputs[index])
    else:
        assert one.flow is None
    strip = overlays.strip(one)
    labels = [axes.get_ylabel() for axes in strip.axes]
    assert ("flow" in labels) == ("flow" in name)
    titles = " ".join(axes.get_title() for axes in strip.axes)
    assert ("pixels" in titles) == ("flow" in name)  # the legend
    panels = 4 if "flow" in name else 3
    assert overlays.animation(one).shape == (frames, 176, panels * 176, 3)
    for columns in ({"A": [one, one]}, {"A": [one], "B": [one]}):
        overview = overlays.overview(columns)
        labels = [axes.get_xlabel() for axes in overview.axes]
        clips = len(columns["A"])
        assert len(overview.axes) == panels * clips
        assert sum("full colour" in text for text in labels) == clips * ("flow" in name)
        assert sum(text == one.truth for text in labels) == clips


def test_flow_colours_are_directions():
    flow = np.array([[[0, 0], [2, 0], [-2, 0], [0, 1]]], float)
    colours = overlays.flow_colours(flow, 2)[0].tolist()
    assert colours[:3] == [[255, 255, 255], [255, 0, 0], [0, 255, 255]]
    assert min(colours[3]) == 128  # half as long: paler


def test_augmentations_are_checked_before_clips_are_prepared(config):
    with pytest.raises(UserError, match="--augment brightness cannot be used with"):
        fitters.check(config.change(input="flow", augment=("brightness",)))


def test_augmented_steps_do_not_depend_on_the_number_of_devices(config, clips):
    config = config.change(augment=("shift", "contrast", "drop"), learning_rate=1e-3)
    losses = []
    for devices in (1, 2):
        changed = config.change(devices=devices, runs_dir=f"{config.runs_dir}{devices}")
        trainer = trainers.make_trainer(changed, clips, folds=1)
        trainer.set_states([trainer.initial_state(0, 10)])
        order = np.arange(16).reshape(2, 8)
        losses.append([float(s["loss"].sum()) for s in trainer.train([order])])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
