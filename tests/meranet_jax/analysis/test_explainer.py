import dataclasses

import imageio.v3 as imageio
import numpy as np
import pytest

from meranet_jax.analysis import explainer, overlays
from meranet_jax.data import loading, splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.runs import reader
from meranet_jax.runs.verification import Opened
from meranet_jax.training import trainers
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import run


@pytest.fixture(scope="module")
def opened(records, clips, tmp_path_factory):
    """A run of two folds, twice."""
    config = smallest(tmp_path_factory.mktemp("runs"), epochs=1)
    config = config.change(protocol="kfold", folds=2, seeds="2")
    path = run(config, clips)
    jobs = splits.jobs(splits.make(config, clips))
    return Opened(
        reader.read(path), [loading.Source("synthetic", records)], clips, jobs
    )


@pytest.fixture(scope="module")
def explain(opened):
    return explainer.Explainer(opened)


@pytest.fixture(scope="module")
def shown(opened, explain):
    return explain.show_all(explainer.test_clips(opened, None, 5))


def test_test_clips_are_of_each_class_in_turn(opened, shown):
    classes = ["disgust", "happiness", "surprise", "disgust", "happiness"]
    assert [one.truth for one in shown] == classes
    assert {one.job.seed for one in shown} == {0}
    for one in shown:
        index = opened.clips.clip_ids.index(one.clip_id)
        assert index in one.job.fold.test
        np.testing.assert_array_equal(one.frames, opened.clips.clips[index])


def test_a_clip_is_shown_as_it_was_predicted(opened, shown):
    kept = {
        (seed, clip_id): (tested.predicted[at], tested.probabilities[at].max())
        for (seed, _), (_, tested) in opened.run.finished().items()
        for at, clip_id in enumerate(tested.clips.tolist())
    }
    for one in shown:
        label, probability = kept[0, one.clip_id]
        assert one.predicted == one.classes[label]
        assert one.probability == pytest.approx(probability, abs=1e-4)


def test_maps_can_be_of_another_class(opened, explain, shown):
    job, clip_id = shown[0].job, shown[0].clip_id
    (one,) = explain.show(job, [clip_id], target="surprise")
    assert one.target == "surprise" and one.predicted == shown[0].predicted
    with pytest.raises(UserError, match="--target=joy is none of disgust, happiness"):
        explain.show(job, [clip_id], target="joy")


def test_what_was_drawn_anew_is_not_what_training_began_with(opened, explain, clips):
    trainer = trainers.make_trainer(opened.run.config, clips, folds=4)
    for seed in (0, 1):
        began = trainer.initial_state(seed, 1).params["head"]["kernel"]
        assert (explain.fresh(seed)["params"]["head"]["kernel"] != began).any()


def test_a_run_that_saved_memory_can_be_explained(opened, shown):
    config = opened.run.config.change(remat=True)
    run = dataclasses.replace(opened.run, config=config)
    again = explainer.Explainer(dataclasses.replace(opened, run=run))
    (one,) = again.show_all([(shown[0].job, shown[0].clip_id)])
    np.testing.assert_allclose(one.grad_cam, shown[0].grad_cam, rtol=1e-4, atol=1e-6)


def test_maps_collapse_where_nothing_is_learnt(explain, shown):
    rows = explainer.sanity(explain, shown[0].job, [shown[0].clip_id])
    assert [row["randomised"] for row in rows] == [
        *("nothing", "head", "block2_1", "block1_1", "stem")
    ]
    assert rows[0]["grad_cam"] == pytest.approx(1)
    assert rows[-1]["grad_cam"] < 0.99 and rows[-1]["smooth_grad"] < 0.99


def test_what_moved_is_known_at_the_size_of_the_input(records, shown):
    for one in shown:
        known = loading.read_features(
            [loading.Source("synthetic", records)], {one.clip_id}, ["motion_mask"]
        )
        mask = known[one.clip_id]["motion_mask"]
        assert one.moved.shape == one.frames.shape[:3]
        blocks = mask.reshape(len(mask), 16, 2, 16, 2).mean((2, 4))
        np.testing.assert_array_equal(one.moved, blocks >= 0.5)


def test_it_is_told_how_well_the_maps_point(shown, explain):
    known = [s for s in shown if s.moved.any()]
    found = explainer.localisation(shown)
    assert list(found) == [
        "Grad-CAM",
        "SmoothGrad",
        "attention of block1_1",
        "attention of block2_1",
    ]
    for numbers in found.values():
        assert all(len(values) == len(known) for values in numbers.values())
    told = explainer.describe(shown, explain.layer)
    assert f"known of {len(known)} clips" in told and "of block2_1." in told
    unknown = [dataclasses.replace(one, moved=None) for one in shown]
    assert explainer.describe(unknown, "stem").startswith("Where the face moved is not")


def test_the_apex_of_a_clip(opened):
    config = opened.run.config
    known = {"onset": 10, "apex": 40, "offset": 50}
    assert explainer.apex_frame(config, known, 16) == 8
    even = config.change(sampling="uniform")
    assert explainer.apex_frame(even, known, 9) == 6
    assert explainer.apex_frame(even, known | {"apex": 50}, 9) == 8


def test_clips_that_were_not_tested_are_refused(opened):
    with pytest.raises(UserError, match="nowhere is not in"):
        explainer.find(opened, None, "nowhere")
    with pytest.raises(UserError, match="has no seed 7, but 0, 1"):
        explainer.test_clips(opened, 7, 1)


def test_pictures(tmp_path, shown):
    figures.save(overlays.overview({"A": shown, "B": shown}), tmp_path / "all.png")
    figures.save(overlays.strip(shown[0]), tmp_path / "one.png")
    pictures = overlays.animation(shown[0])
    assert pictures.shape == (8, 176, 3 * 176, 3)
    overlays.save_animation(pictures, tmp_path / "one.gif")
    assert imageio.imread(tmp_path / "one.gif").shape == pictures.shape
    assert {path.name for path in tmp_path.iterdir()} == {
        *("all.png", "all.svg", "one.png", "one.svg", "one.gif")
    }


def test_a_map_is_seen_where_it_is_greatest():
    frames = np.full((1, 2, 2, 3), 100, np.uint8)
    maps = np.array([[[0.0, 2.0], [0.0, 0.0]]])
    blended = overlays.blend(frames, maps, 2.0)
    assert (blended[0, 0, 0] == 100).all() and (blended[0, 0, 1] != 100).any()
    even = overlays.blend(frames, np.zeros_like(maps), 0.0)
    assert (even == 100).all()
