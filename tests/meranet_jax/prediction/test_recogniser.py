"""Recognisers of recordings: the weights of the package, and runs."""

import json
import shutil

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.data import source_records
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.prediction import recogniser
from meranet_jax.runs import layout, origins
from tests.meranet_jax.running import run
from tests.meranet_jax.runs.test_descriptor_runs import lbp_top


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """A finished run of a network with two folds."""
    config = TrainConfig.from_flags(
        dataset="synthetic",
        size=16,
        width=4,
        stage_sizes=(1,),
        input="rgb",
        protocol="kfold",
        folds=2,
        epochs=1,
        batch_size=8,
        name="network",
        runs_dir=str(tmp_path_factory.mktemp("runs")),
    )
    return run(config, clips)


def features(records, ids):
    """Returns the features of records as those of clips that are cut."""
    source = source_records.Source("synthetic", records)
    names = ("clip", "onset_frame", "apex_frame")
    read = source_records.read_features([source], set(ids), names)
    return [{name: np.asarray(read[one][name]) for name in names} for one in ids]


def test_a_run_has_a_model_for_each_fold(finished, records, tmp_path):
    whole = recogniser.load(str(finished))
    assert whole.models == 2 and whole.calibration is not None
    saved = predictions.read(finished / "predictions.csv")
    first = saved.select(saved.folds == saved.folds[0])
    ids = first.clips[:5].tolist()
    clips = features(records, ids)
    both = whole.probabilities(clips)
    alone = []
    for fold in layout.RunLayout(finished).all_folds():
        # A run with one finished fold has one model.
        one = tmp_path / fold.path.name
        shutil.copytree(finished, one)
        for other in layout.RunLayout(one).all_folds():
            if other.path.name != fold.path.name:
                shutil.rmtree(other.path)
        loaded = recogniser.load(str(one))
        assert loaded.models == 1
        alone.append(loaded.probabilities(clips))
        assert loaded.folds == 2
    assert both.shape == (2, 5, 3)
    np.testing.assert_allclose(both, np.concatenate(alone), atol=1e-6)
    # What the run predicted for its test clips
    expected = first.probabilities[:5]
    assert min(abs(one[0] - expected).max() for one in alone) < 1e-4
    assert whole.probabilities([]).shape == (2, 0, 3)


def test_the_weights_of_the_package_are_calibrated():
    loaded = recogniser.load(None)
    assert loaded.classes == ("negative", "positive", "surprise")
    assert loaded.calibration.classes == loaded.classes
    assert loaded.calibration.subjects == 60 and loaded.calibration.coverage > 0.85
    assert set(loaded.features) == {"onset_frame", "apex_frame"}
    # Without a window of training, people see the whole candidate.
    assert loaded.clip_settings(30).sampling == "uniform"


def test_a_calibration_is_read_next_to_weights(tmp_path):
    shipped = origins.find("pretrained", network_input="onset_apex_flow").path
    copied = tmp_path / "mine.npz"
    shutil.copy(shipped, copied)
    assert recogniser.load(str(copied)).calibration is None
    file = tmp_path / "mine.calibration.json"
    values = json.loads(shipped.with_suffix(".calibration.json").read_text())
    file.write_text(json.dumps(values))
    assert recogniser.load(str(copied)).calibration.temperature > 1
    # One on other people replaces it.
    values["calibration"]["temperature"] = 3.0
    (tmp_path / "other.json").write_text(json.dumps(values))
    other = recogniser.load(str(copied), str(tmp_path / "other.json"))
    assert other.calibration.temperature == 3
    with pytest.raises(UserError, match="--calibration=nowhere.json does not exist"):
        recogniser.load(str(copied), "nowhere.json")
    values["calibration"]["temperature"] = -1
    file.write_text(json.dumps(values))
    with pytest.raises(UserError, match="temperature is -1.*Copy it again"):
        recogniser.load(str(copied))


def test_what_is_no_recogniser_is_refused(tmp_path):
    with pytest.raises(UserError, match="--run=.*nowhere is not a folder"):
        recogniser.load(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"config\.json"):
        recogniser.load(str(tmp_path))


def test_a_run_of_hand_crafted_features_gives_its_predictions(clips, records, tmp_path):
    path = run(lbp_top(tmp_path, name="lbp", seeds="1", protocol="holdout"), clips)
    saved = predictions.read(path / "predictions.csv")
    loaded = recogniser.load(str(path))
    (found,) = loaded.probabilities(features(records, saved.clips.tolist()))
    np.testing.assert_allclose(found, saved.probabilities, atol=1e-5)
