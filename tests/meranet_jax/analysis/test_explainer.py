import dataclasses

import imageio.v3 as imageio
import numpy as np
import pytest

from meranet_jax.analysis import explainer, overlays, saliency_checks
from meranet_jax.data import source_records, splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.runs import reader
from meranet_jax.runs.verification import OpenedRun
from meranet_jax.training import trainers
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import run


@pytest.fixture(scope="module")
def opened(records, clips, tmp_path_factory):
    """A finished run of two folds and two seeds."""
    config = smallest(tmp_path_factory.mktemp("runs"), epochs=1, stage_sizes=(1, 1))
    config = config.change(protocol="kfold", folds=2, seeds="2")
    path = run(config, clips)
    jobs = splits.jobs(splits.make(config, clips))
    return OpenedRun(
        reader.read(path), [source_records.Source("synthetic", records)], clips, jobs
    )


@pytest.fixture(scope="module")
def explain(opened):
    return explainer.Explainer(opened)


@pytest.fixture(scope="module")
def explained(opened, explain):
    return explain.explain_all(explainer.test_clips(opened, None, 5))


def test_test_clips_alternate_between_classes(opened, explained):
    classes = ["disgust", "happiness", "surprise", "disgust", "happiness"]
    assert [one.truth for one in explained] == classes
    assert {one.job.seed for one in explained} == {0}
    for one in explained:
        index = opened.clips.clip_ids.index(one.clip_id)
        assert index in one.job.fold.test
        np.testing.assert_array_equal(one.frames, opened.clips.clips[index])


def test_predictions_equal_those_of_the_run(opened, explained):
    saved = {
        (seed, clip_id): (part.predicted[index], part.probabilities[index].max())
        for (seed, _), (_, part) in opened.run.finished().items()
        for index, clip_id in enumerate(part.clips.tolist())
    }
    for one in explained:
        label, probability = saved[0, one.clip_id]
        assert one.predicted == one.classes[label]
        assert one.probability == pytest.approx(probability, abs=1e-4)


def test_maps_can_explain_another_class(opened, explain, explained):
    job, clip_id = explained[0].job, explained[0].clip_id
    (one,) = explain.explain(job, [clip_id], target="surprise")
    assert one.target == "surprise" and one.predicted == explained[0].predicted
    with pytest.raises(
        UserError, match="--target=joy is not a class .* disgust, happiness"
    ):
        explain.explain(job, [clip_id], target="joy")


def test_random_weights_are_not_the_initial_weights_of_training(opened, explain, clips):
    trainer = trainers.make_trainer(opened.run.config, clips, folds=4)
    for seed in (0, 1):
        initial = trainer.initial_state(seed, 1).params["head"]["kernel"]
        random = explain.random_weights(seed)["params"]["head"]["kernel"]
        assert (random != initial).any()


def test_a_run_with_remat_can_be_explained(opened, explained):
    config = opened.run.config.change(remat=True)
    run = dataclasses.replace(opened.run, config=config)
    again = explainer.Explainer(dataclasses.replace(opened, run=run))
    (one,) = again.explain_all([(explained[0].job, explained[0].clip_id)])
    np.testing.assert_allclose(
        one.grad_cam, explained[0].grad_cam, rtol=1e-4, atol=1e-6
    )


def test_maps_change_when_layers_are_randomised(explain, explained):
    rows = saliency_checks.sanity(explain, explained[0].job, [explained[0].clip_id])
    assert [row["randomised"] for row in rows] == [
        *("nothing", "head", "block2_1", "block1_1", "stem")
    ]
    assert rows[0]["grad_cam"] == pytest.approx(1)
    assert rows[-1]["grad_cam"] < 0.99 and rows[-1]["smooth_grad"] < 0.99


def test_motion_masks_have_the_size_of_the_input(records, explained):
    for one in explained:
        known = source_records.read_features(
            [source_records.Source("synthetic", records)],
            {one.clip_id},
            ["motion_mask"],
        )
        mask = known[one.clip_id]["motion_mask"]
        assert one.motion.shape == one.frames.shape[:3]
        blocks = mask.reshape(len(mask), 16, 2, 16, 2).mean((2, 4))
        np.testing.assert_array_equal(one.motion, blocks >= 0.5)


def test_localisation_is_described(explained, explain):
    known = [clip for clip in explained if clip.motion.any()]
    found = saliency_checks.localisation(explained)
    assert list(found) == [
        "Grad-CAM",
        "SmoothGrad",
        "attention of block1_1",
        "attention of block2_1",
    ]
    for numbers in found.values():
        assert all(len(values) == len(known) for values in numbers.values())
    text = saliency_checks.describe(explained, explain.layer)
    assert f"means over {len(known)} clips" in text
    assert "Grad-CAM explains block2_1." in text
    unknown = [dataclasses.replace(one, motion=None) for one in explained]
    assert "do not say where the face moved" in saliency_checks.describe(
        unknown, "stem"
    )


def test_index_of_the_apex_frame(opened):
    config = opened.run.config
    known = {"onset": 10, "apex": 40, "offset": 50}
    assert explainer.apex_frame(config, known, 16) == 8
    uniform = config.change(sampling="uniform")
    assert explainer.apex_frame(uniform, known, 9) == 6
    assert explainer.apex_frame(uniform, known | {"apex": 50}, 9) == 8


def test_clips_outside_the_test_parts_are_refused(opened):
    with pytest.raises(UserError, match="nowhere is not a clip in"):
        explainer.find_test_clip(opened, None, "nowhere")
    with pytest.raises(UserError, match="has no seed 7. Its seeds are 0, 1"):
        explainer.test_clips(opened, 7, 1)


@pytest.mark.parametrize("frames", [1, 8])
def test_the_title_of_a_strip_is_not_cut_off(explained, frames):
    one = explained[0]
    cut = {
        name: getattr(one, name)[:frames]
        for name in ("frames", "grad_cam", "smooth_grad")
    }
    one = dataclasses.replace(
        one, **cut, apex=0, attention={}, motion=None, clip_id="synthetic/EP01_21/06"
    )
    strip = overlays.strip(one)
    strip.draw_without_rendering()
    (title,) = (text for text in strip.texts if one.clip_id in text.get_text())
    box = title.get_window_extent()
    assert strip.bbox.x0 <= box.x0 and box.x1 <= strip.bbox.x1
    assert box.y1 <= strip.bbox.y1
    assert title.get_text().split()[-1] == one.target


def test_figures_and_animations(tmp_path, explained):
    figures.save(
        overlays.overview({"A": explained, "B": explained}), tmp_path / "all.png"
    )
    figures.save(overlays.strip(explained[0]), tmp_path / "one.png")
    frames = overlays.animation(explained[0])
    assert frames.shape == (8, 176, 3 * 176, 3)
    overlays.save_animation(frames, tmp_path / "one.gif")
    assert imageio.imread(tmp_path / "one.gif").shape == frames.shape
    assert {path.name for path in tmp_path.iterdir()} == {
        *("all.png", "all.svg", "one.png", "one.svg", "one.gif")
    }


def test_an_animation_is_still_where_nothing_moves(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 64, 128, 3), np.uint8)
    frames[:, :, :64] = frames[0, :, :64]
    overlays.save_animation(frames, tmp_path / "one.gif")
    shown = imageio.imread(tmp_path / "one.gif")
    assert (shown[:, :, :64] == shown[0, :, :64]).all()
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 256
    error = shown.astype(float) - frames
    assert np.sqrt((error**2).mean()) < 30  # noise has all colours


def test_blending_is_strongest_at_the_maximum():
    frames = np.full((1, 2, 2, 3), 100, np.uint8)
    maps = np.array([[[0.0, 2.0], [0.0, 0.0]]])
    blended = overlays.blend(frames, maps, 2.0)
    assert (blended[0, 0, 0] == 100).all() and (blended[0, 0, 1] != 100).any()
    uniform = overlays.blend(frames, np.zeros_like(maps), 0.0)
    assert (uniform == 100).all()
