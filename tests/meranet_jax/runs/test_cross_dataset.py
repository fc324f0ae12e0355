"""Tests of a run's weights on another data set."""

import dataclasses
import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from meranet_jax import recipes
from meranet_jax.data import splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import calibration, figures, metrics, predictions
from meranet_jax.runs import (
    cross_dataset,
    cross_text,
    reader,
    run_calibration,
    subjects,
)
from meranet_jax.runs.cross_dataset import Target
from meranet_jax.training import fitters
from tests.meranet_jax import loading
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import run, touch_figure
from tests.meranet_jax.runs.test_descriptor_runs import lbp_top

CLASSES = {"disgust": ("disgust",), "happy": ("happiness", "joy"), "s": ("surprise",)}


@pytest.fixture(scope="module")
def clips(records):
    """Clips with two classes whose names are not those of their emotions."""
    return loading.load(records, classes=lambda emotions: CLASSES)


@pytest.fixture(scope="module")
def path(clips, tmp_path_factory):
    """A run of two folds and two seeds."""
    changes = {"protocol": "kfold", "folds": 2, "seeds": "2", "epochs": 1, "frames": 8}
    return run(smallest(tmp_path_factory.mktemp("runs"), **changes), clips)


@pytest.fixture(scope="module")
def single(clips, tmp_path_factory):
    """A run of one fold, of the old version: it has not saved its subjects."""
    config = smallest(tmp_path_factory.mktemp("runs"), epochs=1, frames=8)
    path = run(config, clips)
    (summary,) = path.glob("folds/*/fold.json")
    saved = json.loads(summary.read_text())
    assert saved.pop("trained_on") == {"synthetic": ["s01", "s02", "s03", "s04"]}
    summary.write_text(json.dumps(saved))
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Records of two subjects of another data set, 18 clips."""
    config = SyntheticConfig(
        name="other", frames=8, window=16, size=32, subjects=2, repetitions=3, seed=9
    )
    folder = tmp_path_factory.mktemp("other")
    builder = Builder(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return builder.data_dir


@pytest.fixture
def evaluate(other):
    """Evaluates a run on the data set; returns the report and the configuration."""

    def evaluate(path, dataset="mylab", **flags):
        prepared = []

        def prepare(config):
            prepared.append(config)
            return Path(other)

        with mock.patch.object(figures, "save", touch_figure):
            found = cross_dataset.evaluate(
                reader.read(path), Target(dataset=dataset, **flags), prepare
            )
        return found, prepared

    return evaluate


def test_a_run_is_calibrated_on_the_other_data_set(path, evaluate, other):
    evaluate(path)
    saved = reader.read(path)
    file, made = run_calibration.calibrate_on(saved, "mylab", 0.4)
    predicted = predictions.read(path / "cross" / "mylab" / "predictions.csv")
    assert file == path / "cross" / "mylab" / "calibration.json"
    found = run_calibration.read_of_weights(file, saved.classes)
    assert found == calibration.calibrate(predicted, 0.4) and found.subjects == 2
    assert "predictions of all models for mylab: 72" in run_calibration.describe(made)
    with pytest.raises(UserError, match="its classes are disgust, happy, s.*Copy it"):
        run_calibration.read_of_weights(file, ("disgust", "happy"))
    # Sets of plausible classes need clips of each class.
    evaluate(path, classes="happy,s")
    with pytest.raises(UserError, match="mylab has no clip of disgust"):
        run_calibration.calibrate_on(saved, "mylab")


def test_each_model_predicts_every_clip(path, evaluate, other):
    report, (config,) = evaluate(path)
    assert (config.dataset, config.frames, config.size) == ("mylab", 8, 16)
    folder = path / "cross" / "mylab"
    predicted = predictions.read(folder / "predictions.csv")
    assert len(predicted) == 4 * 18
    assert predicted.classes == tuple(CLASSES)
    # Each model's metrics are those of its own predictions.
    for model in report["by_model"]:
        of_model = predicted.select(
            (predicted.seeds == model["seed"]) & (predicted.folds == model["fold"])
        )
        assert (len(of_model), of_model.correct.sum()) == (18, model["correct"])
        confusion = metrics.confusion_matrix(of_model.truth, of_model.predicted, 3)
        assert model["uf1"] == pytest.approx(float(metrics.uf1(confusion)))
    assert [(m["seed"], m["fold"]) for m in report["by_model"]] == [
        *((0, "1"), (0, "2"), (1, "1"), (1, "2"))
    ]
    for name, found in report["metrics"].items():
        values = [model[name] for model in report["by_model"]]
        assert found["values"] == values and found["mean"] == np.mean(values)
        assert found["range"] == [min(values), max(values)]
    assert report["clips"] == 18 and report["subjects"] == 2
    # The ensemble predicts from the mean of the probabilities.
    mean = predicted.probabilities.reshape(4, 18, 3).mean(0)
    correct = (mean.argmax(-1) == predicted.truth[:18]).mean()
    assert report["ensemble"]["metrics"]["accuracy"]["mean"] == pytest.approx(correct)
    # The same weights on the same clips as the fitter gives them, one by one.
    saved = reader.read(path)
    clips = loading.load(loading.source(other, "mylab"), classes=lambda _: CLASSES)
    fitter = fitters.make_fitter(saved.config, clips, folds=1)
    (fold,) = saved.layout.find_folds(1, 0)
    weights = cross_dataset.checkpoint.read_weights(fold.weights, fitter.weight_shapes)
    (expected,) = fitter.predict([np.arange(18)], [weights])
    np.testing.assert_array_equal(predicted.probabilities[36:54], expected)
    assert json.loads((folder / "report.json").read_text()) == json.loads(
        json.dumps(report)
    )
    text = (folder / "report.md").read_text()
    assert text.startswith("# MERANet: trained on synthetic, tested on mylab\n")
    assert "Cross-data-set result: MERANet trained on synthetic (protocol kfold" in text
    assert "happy (6 clips: happiness 6)" in text and "ensemble" in text
    assert all(
        "![" not in line or (folder / line.split("(")[1][:-1]).exists()
        for line in text.splitlines()
    )
    shown = cross_text.describe(report)
    assert "mean of 4 models" in shown and "over subjects" in shown
    report["windows"] = {"training": "8 frames, 40 ms", "test": "8 frames, 99 ms"}
    shown = cross_text.describe(report)
    assert "apex: 8 frames, 40 ms in training, 8 frames, 99 ms in this test" in shown


def test_one_model_is_reported_without_an_ensemble(single, evaluate, monkeypatch):
    of_training = {"synthetic": ["s03", "s04"]}
    monkeypatch.setattr(subjects, "_from_records", lambda run, ids: of_training)
    report, _ = evaluate(single, "synthetic/hard")  # with the subjects s01 and s02
    assert report["ensemble"] is None
    row = report["metrics"]["accuracy"]
    correct = report["by_model"][0]["correct"]
    assert row["mean"] == correct / 18
    assert row["interval"] == metrics.wilson_interval(correct, 18)
    assert (single / "cross" / "synthetic-hard" / "report.md").exists()
    text = cross_text.describe(report)
    assert f"({correct} of 18 clips), 95 % interval" in text
    assert "1 fold, seed 0), tested on synthetic/hard" in text
    assert "none of whom the run was trained on. Classes" in text
    unknown = report | {"unknown_subjects": ["kinetics400"]}
    text = cross_text.describe(unknown)
    assert "trained on as far as is known (it was also trained on unknown" in text


def test_probabilities_are_those_among_the_tested_classes(path, evaluate):
    evaluate(path)
    file = path / "cross" / "mylab" / "predictions.csv"
    complete = predictions.read(file)
    report, _ = evaluate(path, classes="s, disgust")
    found = predictions.read(file)
    assert found.classes == ("disgust", "s") and len(found) == 4 * 12
    assert report["data"]["left_out"] == {"happiness, not among the classes": 6}
    kept = complete.select(np.isin(complete.clips, found.clips))
    both = kept.probabilities[:, [0, 2]]
    expected = both / both.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    text = (path / "cross" / "mylab" / "report.md").read_text()
    assert "not tested: happy. Probabilities are restricted" in text


def test_a_network_that_excludes_all_tested_classes_still_ranks_them(clips, config):
    fitter = fitters.make_fitter(config, clips, folds=1)
    with mock.patch.object(
        type(fitter.trainer), "predict", lambda *_: [np.array([[999.0, 2, 1]])]
    ):
        (found,) = fitter.predict([np.arange(1)], [None], classes=[1, 2])
    np.testing.assert_allclose(found, [[0.731, 0.269]], atol=1e-3)


def test_emotions_are_mapped_to_classes_by_a_file(path, evaluate, tmp_path):
    file = tmp_path / "classes.json"
    file.write_text('{"s": ["disgust"], "happy": ["surprise"]}')
    report, _ = evaluate(path, classes=str(file))
    assert report["data"]["classes"] == {"happy": ["surprise"], "s": ["disgust"]}
    file.write_text('{"s": ["disgust"], "other": ["surprise"]}')
    with pytest.raises(UserError, match="other is not a class of the run"):
        evaluate(path, classes=str(file))


def shared(emotions, text=None, classes=CLASSES):
    return cross_dataset.shared_classes(classes, emotions, text=text, dataset="mylab")


def test_classes_are_those_with_clips_of_their_emotions():
    assert list(shared({"joy", "surprise", "fear"})) == ["happy", "s"]
    megc3 = {"negative": ("fear",), "positive": ("happiness",), "surprise": ("awe",)}
    found = shared({"contempt", "happiness", "surprise", "others"}, "megc3", megc3)
    assert found["negative"] == ("contempt",) and len(found) == 3


@pytest.mark.parametrize(
    ("emotions", "text", "message"),
    [
        ({"joy", "fear"}, None, "mylab has clips of only happy of them.*At least two"),
        ({"awe", "fear"}, None, "clips of none of them: its labels are awe, fear"),
        ({"joy", "surprise"}, "happy,disgust", "mylab has no clip of disgust"),
        ({"joy", "surprise"}, "happy,", "name at least two classes of the run"),
        ({"joy", "surprise"}, "all", "all is not a class of the run.*joy.*megc3"),
        ({"joy", "happiness", "surprise", "x"}, "megc3", "negative is not a class"),
    ],
)
def test_classes_that_do_not_fit_are_refused(emotions, text, message):
    with pytest.raises(UserError, match=message):
        shared(emotions, text)


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic/hard"])
def test_subjects_of_the_training_are_refused(path, evaluate, dataset):
    message = "was trained on subjects of this data set: s01, s02 of synthetic"
    with pytest.raises(UserError, match=message):
        evaluate(path, dataset)
    assert not (path / "cross" / dataset.replace("/", "-")).exists()


def test_a_data_set_that_shows_the_same_people_is_refused(path, evaluate, monkeypatch):
    monkeypatch.setitem(recipes.SAME_PEOPLE, "mylab", "synthetic")
    with pytest.raises(UserError, match="s01, s02 of synthetic"):
        evaluate(path, "mylab")


def test_a_composite_data_set_with_subjects_of_the_training_is_refused(path, evaluate):
    with pytest.raises(UserError, match="s01, s02 of synthetic"):
        evaluate(path, "mylab,synthetic")


def test_subjects_of_an_old_run_are_read_from_its_records(single, records, tmp_path):
    shutil.copytree(single, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    config["records"] = [str(records)]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    found = subjects.of_run(reader.read(tmp_path / "old"), [(0, 0)])
    assert found == {"synthetic": ["s01", "s02", "s03", "s04"]}
    # Without the records they are unknown.
    assert subjects.of_run(reader.read(single), [(0, 0)]) == {"synthetic": None}


def test_unknown_subjects_are_refused_in_the_same_data_set_only(single, evaluate):
    with pytest.raises(UserError, match="s01, s02 of synthetic"):
        evaluate(single, "synthetic/hard")
    report, _ = evaluate(single)
    assert report["unknown_subjects"] == ["synthetic"]


def test_subjects_of_a_composite_data_set_have_no_prefix(clips):
    composite = dataclasses.replace(
        clips,
        datasets=("synthetic/hard",) * 18 + ("casme2",) * 18,
        subjects=tuple(f"synthetic/{s}" for s in clips.subjects[:18])
        + tuple(f"casme2/{s}" for s in clips.subjects[18:]),
    )
    found = subjects.of_clips(composite, range(36))
    assert found == {"casme2": ["s03", "s04"], "synthetic": ["s01", "s02"]}
    both = subjects.shared(found, {"casme2": ["s04", "s05"], "casme": ["s01"]})
    assert both == {"casme2": ["s04"]}


def test_clips_of_another_shape_are_refused(path, evaluate, tmp_path):
    shutil.copytree(path, tmp_path / "run")
    text = (tmp_path / "run" / "config.json").read_text()
    changed = text.replace('"frames": 8', '"frames": 16')
    (tmp_path / "run" / "config.json").write_text(changed)
    with pytest.raises(UserError, match=r"\(8, 16, 16, 3\), those of the run \(16, "):
        evaluate(tmp_path / "run")


def test_an_unfinished_run_is_refused(path, evaluate, tmp_path):
    shutil.copytree(path, tmp_path / "run")
    (tmp_path / "run" / "report.json").unlink()
    with pytest.raises(UserError, match="not all of its folds are finished"):
        evaluate(tmp_path / "run")


def test_settings_of_the_data_set_are_not_those_of_the_run(path):
    saved = reader.read(path)
    changed = saved.config.change(
        dataset="cas_me_2", window=16, label="estimated_emotion", leave_out="a"
    )
    saved = dataclasses.replace(saved, config=changed)
    config = cross_dataset.configuration(saved, Target(dataset="casme2"), None)
    (alone,) = config.each_dataset()
    # 16 is what the paper uses for CAS(ME)^2.
    assert (alone.window, alone.min_frames) == (32, 16)
    assert (alone.label, alone.leave_out) == ("emotion", None)
    set_by_user = dataclasses.replace(saved, config=changed.change(window=24))
    target = Target(dataset="casme2", label="x", manual_dir="copy")
    config = cross_dataset.configuration(set_by_user, target, "data")
    (alone,) = config.each_dataset()
    assert (alone.window, alone.label, alone.data_dir) == (24, "x", "data")
    assert alone.record_options()["frames"] == 8
    # With --rate, the window is the same time in all data sets.
    resampled = dataclasses.replace(saved, config=changed.change(rate=30.0))
    config = cross_dataset.configuration(resampled, target, "data")
    assert (config.rate, config.window) == (30, 16)


def test_the_crop_is_that_of_the_run_unless_another_is_given(path):
    saved = reader.read(path)
    cropped = saved.config.change(dataset="casme2", crop="detect", margin=0.2)
    saved = dataclasses.replace(saved, config=cropped)
    for crop, expected in (
        (None, ("detect", 0.2)),
        ("none", ("none", 0.2)),
        ("default", (None, None)),
    ):
        target = Target(dataset="synthetic", crop=crop)
        config = cross_dataset.configuration(saved, target, None)
        assert (config.crop, config.margin) == expected


def test_a_descriptor_is_tested_on_another_data_set(clips, evaluate, other, tmp_path):
    path = run(lbp_top(tmp_path, seeds="1", frames=8), clips)
    report, _ = evaluate(path, classes="disgust,happy")
    assert report["model"] == "LBP-TOP + SVM" and len(report["by_model"]) == 2
    found = predictions.read(path / "cross" / "mylab" / "predictions.csv")
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, atol=1e-6)
    saved = reader.read(path)
    two = loading.load(loading.source(other, "mylab"), classes=["disgust", "happiness"])
    fitter = fitters.DescriptorFitter(
        saved.config, dataclasses.replace(two, classes=saved.classes)
    )
    (fold,) = saved.layout.find_folds(0, 1)
    weights = cross_dataset.checkpoint.read_weights(fold.weights, fitter.weight_shapes)
    (both,) = (p[:, :2] for p in fitter.predict([np.arange(12)], [weights]))
    expected = both / both.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.probabilities[12:], expected, rtol=1e-5)


def test_probabilities_that_are_all_zero_are_refused():
    found = fitters._normalise(np.array([[0.2, 0.2], [0, 0]], np.float32))
    np.testing.assert_array_equal(found, [[0.5, 0.5], [np.nan, np.nan]])


def test_the_split_of_a_run_is_not_used(path, clips):
    """Test clips of a fold are no part of what its weights were trained on."""
    saved = reader.read(path)
    for job in splits.jobs(splits.make(saved.config, clips)):
        trained = subjects.of_training(job.fold, clips)
        assert trained == subjects.of_run(saved, [(job.seed, job.number)])
        tested = subjects.of_clips(clips, job.fold.test.tolist())
        assert subjects.shared(trained, tested) == {}
