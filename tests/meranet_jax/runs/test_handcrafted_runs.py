"""Runs of the descriptors of optical flow and of STCLQP."""

import dataclasses
import json

import numpy as np
import pytest

from meranet_jax import recognisers
from meranet_jax.analysis.explainer import Explainer
from meranet_jax.config import TrainConfig, default_config
from meranet_jax.data import landmarks, splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, predictions
from meranet_jax.inputs import registry
from meranet_jax.recognisers import Descriptor
from meranet_jax.runs import merge, reader, verification
from meranet_jax.training import fitters
from tests.meranet_jax.loading import load, source
from tests.meranet_jax.running import run

# Title of each, and its settings for few features and a short search
CASES = {
    "bi_woof": ("Bi-WOOF + SVM", {}),
    "fmbh": ("FMBH, our reading", {}),
    "stclqp": (
        "STCLQP, our reading",
        {"stclqp_blocks": (2, 2, 1), "stclqp_words": 16, "stclqp_kept": 8},
    ),
    "mdmo": ("MDMO, five landmarks", {"svm_gamma_exponents": (0, 2)}),
    "landmark_flow": ("landmark regions + flow", {"svm_gamma_exponents": (0, 2)}),
}


def configure(model, runs_dir, **flags):
    """A configuration for the tests' clips of 8 frames at 32 x 32."""
    small = {"size": 32, "svm_c_exponents": (-1, 2), "protocol": "kfold", "folds": 2}
    flags = {"model": model, "runs_dir": str(runs_dir)} | small | flags
    return TrainConfig.from_flags(**CASES[model][1], **flags)


def clips_of(config, *records, **options):
    network_input = registry.find(config.input)
    return load(*records, size=32, network_input=network_input, **options)


@pytest.fixture(scope="module", autouse=True)
def detected_once():
    """Detects the landmarks of the same frames once in this module."""
    known, detect_all = {}, landmarks.detect_all

    def detect_new(frames, workers):
        key = b"".join(frame.tobytes() for frame in frames)
        if key not in known:
            known[key] = detect_all(frames, workers)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmarks, "detect_all", detect_new)
        yield


@pytest.fixture(scope="module", params=CASES)
def finished(request, records, tmp_path_factory):
    """A configuration, its clips and the folder of a run."""
    config = configure(request.param, tmp_path_factory.mktemp(request.param))
    clips = clips_of(config, records)
    return config, clips, run(config, clips)


def test_a_run_needs_no_flag_but_the_model(finished):
    config, _, _ = finished
    plain = default_config("synthetic", "paper", config.model)
    assert plain.input == config.input == config.recogniser.inputs[0]
    assert plain.size == 112 and plain.frames == 16
    assert plain.sampling == ("tim" if config.model == "stclqp" else "apex")
    fitters.check(plain)
    assert default_config("synthetic", "small", config.model).size == 56
    with pytest.raises(
        UserError, match=f"--model={config.model} accepts {config.input}"
    ):
        config.change(input="rgb")


def test_mbh_has_another_title_and_run_name(tmp_path):
    config = configure("fmbh", tmp_path, fmbh_separate=True)
    assert config.title == "MBH + SVM, our reading"
    assert "-fmbh-separate-" in config.run_name
    assert config.recogniser.feature_length(config.settings) == 400


def test_the_report_names_what_it_is(finished):
    config, clips, path = finished
    text = (path / "report.md").read_text()
    assert text.startswith(f"# {CASES[config.model][0]} on synthetic")
    assert registry.find(config.input).title in text
    predicted = predictions.read(path / "predictions.csv")
    assert len(predicted) == len(clips)
    np.testing.assert_allclose(predicted.probabilities.sum(-1), 1, atol=1e-6)
    folds = sorted((path / "folds").iterdir())
    for fold in folds:
        saved = json.loads((fold / "fold.json").read_text())
        assert saved["c"] in (0.5, 1, 2, 4) and saved["fallback"] is None
        assert saved.get("gamma", 1) in (1, 4)
        assert ("gamma" in saved) == config.recogniser.landmarks
        assert ("without_face" in saved) == config.recogniser.landmarks


def test_saved_weights_give_the_saved_predictions(finished, records):
    config, _, path = finished
    saved = dataclasses.replace(reader.read(path), records=[records])
    assert verification.check_predictions(saved, None) == 0


def test_feature_lengths_are_those_of_the_features(finished):
    config, clips, _ = finished
    fitter = fitters.DescriptorFitter(config, clips)
    expected = config.recogniser.feature_length(config.settings)
    assert fitter._features.shape == (len(clips), expected)
    assert np.isfinite(fitter._features).all()
    assert len(np.unique(fitter._features, axis=0)) == len(clips)


def test_saliency_maps_are_refused(finished):
    config, clips, path = finished
    jobs = splits.jobs(splits.make(config, clips))
    opened = verification.OpenedRun(reader.read(path), [], clips, jobs)
    with pytest.raises(UserError, match="not of a network"):
        Explainer(opened)


def test_every_built_in_descriptor_is_tested_here_or_as_lbp_top():
    descriptors = {
        name
        for name in recognisers.BUILT_IN
        if isinstance(recognisers.find(name), Descriptor)
    }
    assert descriptors == {"lbp_top", *CASES}


# Landmarks, and weights whose number differs from fold to fold


@pytest.fixture
def half_found(monkeypatch):
    """Landmarks of every second clip; returns the frames that were asked for."""
    asked = []

    def detect_all(frames, workers):
        asked.append(frames)
        found = np.tile([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]], 1)
        found = np.stack([found] * len(frames))
        found[::2] = np.nan
        return found

    monkeypatch.setattr(landmarks, "detect_all", detect_all)
    return asked


def test_clips_without_a_face_are_counted(half_found, records, tmp_path, capsys):
    config = configure("mdmo", tmp_path)
    clips = clips_of(config, records)
    path = run(config, clips)
    said = capsys.readouterr().err
    assert "No face was found in 18 of 36 clips" in said
    assert len(half_found) == 1  # once for all folds
    frames = half_found[0]
    assert len(frames) == 36 and frames[0].shape == (32, 32, 3)
    jobs = splits.jobs(splits.make(config, clips))
    for job, fold in zip(jobs, sorted((path / "folds").iterdir()), strict=True):
        part = np.concatenate([job.fold.train, job.fold.validation])
        saved = json.loads((fold / "fold.json").read_text())
        assert saved["without_face"] == (part % 2 == 0).sum()


def test_landmarks_need_an_input_of_flow(tmp_path, monkeypatch):
    config = configure("mdmo", tmp_path)
    other = dataclasses.replace(config.recogniser, inputs=("raw",))
    monkeypatch.setattr(recognisers, "find", lambda name: other)
    with pytest.raises(UserError, match="--input=raw: mdmo asks for landmarks"):
        fitters.check(config.change(input="raw"))


def test_shards_seeds_and_a_resumed_run(half_found, records, tmp_path):
    config = configure("landmark_flow", tmp_path / "all", seeds="2", name="all")
    clips = clips_of(config, records)
    path = run(config, clips)
    expected = (path / "predictions.csv").read_bytes()
    parts = [
        run(config.change(runs_dir=str(tmp_path), fold_shard=f"{n}/2"), clips)
        for n in (1, 2)
    ]
    merged = tmp_path / "merged"
    merge.merge([reader.read(part) for part in parts], merged)
    assert (merged / "predictions.csv").read_bytes() == expected
    # A fold that is missing is fitted again, the others are not.
    first, *_ = sorted((path / "folds").iterdir())
    (first / "predictions.csv").unlink()
    fitted = []
    run(config, clips, watch={"step": lambda jobs, *_: fitted.extend(jobs)})
    assert len(fitted) == 1
    assert (path / "predictions.csv").read_bytes() == expected


def test_composite_data_sets_under_loso(half_found, records, tmp_path):
    config = configure(
        "landmark_flow", tmp_path, dataset="synthetic,mylab", protocol="loso"
    )
    both = source(records), source(records, "mylab")
    # Two of the four subjects are of each data set, since equal clips are a leak.
    left_out = [
        clip_id
        for clip_id in clips_of(config, *both).clip_ids
        if clip_id.startswith(("synthetic/s01", "synthetic/s02", "mylab/s03"))
        or clip_id.startswith("mylab/s04")
    ]
    clips = clips_of(config, *both, leave_out=left_out)
    path = run(config, clips)
    report = json.loads((path / "report.json").read_text())
    assert report["folds"] == 4 and set(report["by_dataset"]) == {"synthetic", "mylab"}


def test_descriptors_are_compared(half_found, records, tmp_path):
    paths = []
    for model in ("bi_woof", "landmark_flow"):
        config = configure(model, tmp_path)
        paths.append(run(config, clips_of(config, records)))
    found = comparison.compare(
        *(predictions.read(path / "predictions.csv") for path in paths)
    )
    assert found["clips"] == 36


def test_features_and_landmarks_are_kept(half_found, records, tmp_path, monkeypatch):
    config = configure("landmark_flow", tmp_path)
    clips = clips_of(config, records)
    recogniser, computed = config.recogniser, []

    def compute(*arguments, **options):
        computed.append(arguments)
        return recogniser.features(*arguments, **options)

    counted = dataclasses.replace(recogniser, features=compute)
    monkeypatch.setattr(recognisers, "find", lambda name: counted)

    def features(config=config, clips=clips):
        fitter = fitters.DescriptorFitter(config, clips, records=tmp_path)
        return fitter._features

    expected = features()
    for _ in range(2):
        np.testing.assert_array_equal(features(), expected)
    assert len(computed) == len(half_found) == 1
    # Other settings, other flow, and other frames of which landmarks are detected
    features(config.change(svm_gamma_exponents=(0, 4)))
    assert len(computed) == 2 and len(half_found) == 1
    flow = np.array(clips.inputs)
    flow[3] *= 2
    features(clips=dataclasses.replace(clips, stored=flow))
    assert len(computed) == 3 and len(half_found) == 1
    frames = np.stack(list(clips.references))
    frames[5, 0, 0] ^= 1
    features(clips=dataclasses.replace(clips, references=frames))
    assert len(half_found) == 2
    features(clips=clips_of(config, records, leave_out=clips.clip_ids[:1]))
    assert len(computed) == 4 and len(half_found) == 3


def test_features_of_a_descriptor_of_a_user_are_not_kept(records, tmp_path):
    config = configure("bi_woof", tmp_path)
    clips = clips_of(config, records)
    own = config.change(model="meranet_jax.descriptors.specifications:BI_WOOF")
    fitters.DescriptorFitter(own, clips, records=tmp_path)._features  # noqa: B018
    assert not list(tmp_path.iterdir())
