"""Runs of a recogniser that is not a network: LBP-TOP with a linear SVM."""

import json
import shutil
import threading

import numpy as np
import pytest

from meranet_jax import cores
from meranet_jax.analysis.explainer import Explainer
from meranet_jax.config import TrainConfig
from meranet_jax.data import splits
from meranet_jax.data.source_records import Source
from meranet_jax.descriptors import svm
from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, predictions, summary
from meranet_jax.runs import (
    lower_rate,
    merge,
    reader,
    run_calibration,
    verification,
)
from meranet_jax.training import fitters
from tests.meranet_jax.running import run


def lbp_top(runs_dir, **flags):
    """A configuration for the tests' clips of 8 frames at 16 x 16."""
    small = {"size": 16, "lbp_radius": (1, 1, 1), "lbp_blocks": (2, 2, 1)}
    small |= {"svm_c_exponents": (-1, 3), "protocol": "kfold", "folds": 2}
    flags = (
        {"model": "lbp_top", "runs_dir": str(runs_dir), "seeds": "2"} | small | flags
    )
    return TrainConfig.from_flags(**flags)


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    config = lbp_top(tmp_path_factory.mktemp("lbp"), name="all")
    return config, run(config, clips)


def test_the_report_has_no_learning_curves(finished, clips):
    config, path = finished
    predicted = predictions.read(path / "predictions.csv")
    assert len(predicted) == 2 * len(clips)
    np.testing.assert_allclose(predicted.probabilities.sum(-1), 1, atol=1e-6)
    report = json.loads((path / "report.json").read_text())
    assert report["metrics"]["accuracy"]["mean"] == pytest.approx(
        predicted.correct.mean()
    )
    assert (
        "an SVM trained on the training and the validation part" in report["selection"]
    )
    text = (path / "report.md").read_text()
    assert text.startswith("# LBP-TOP + SVM on synthetic")
    assert "reliability.png" in text and "curves.png" not in text
    assert not (path / "curves.png").exists()
    assert all(
        "![" not in line or (path / line.split("(")[1][:-1]).exists()
        for line in text.splitlines()
    )
    (fold, *_) = sorted((path / "folds").iterdir())
    saved = json.loads((fold / "fold.json").read_text())
    assert saved["c"] in (0.5, 1, 2, 4, 8) and "epoch" not in saved
    assert not (fold / "metrics.jsonl").exists()


def test_equal_seeds_give_equal_predictions(finished, clips, tmp_path):
    config, path = finished
    again = run(config.change(runs_dir=str(tmp_path)), clips)
    tables = [(p / "predictions.csv").read_bytes() for p in (path, again)]
    assert tables[0] == tables[1]


def test_shards_are_merged(finished, clips, tmp_path):
    config, path = finished
    parts = [
        run(config.change(runs_dir=str(tmp_path), fold_shard=f"{n}/2"), clips)
        for n in (1, 2)
    ]
    merged = tmp_path / "merged"
    merge.merge([reader.read(part) for part in parts], merged)
    tables = [(p / "predictions.csv").read_bytes() for p in (path, merged)]
    assert tables[0] == tables[1]


def test_only_unfinished_folds_are_fitted(finished, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: 2)
    config, path = finished
    config = config.change(runs_dir=str(tmp_path))
    fitted = []

    def stop_at_second(jobs, epoch, steps, means):
        assert means is None
        if fitted:
            raise KeyboardInterrupt
        fitted.extend(job.name for job in jobs)

    with pytest.raises(KeyboardInterrupt):
        run(config, clips, watch={"step": stop_at_second})
    first = list(fitted)
    fitted.clear()
    watch = {"step": lambda jobs, *_: fitted.extend(job.name for job in jobs)}
    again = run(config, clips, watch=watch)
    # Two folds at a time, one for each core
    assert (len(first), len(fitted)) == (2, 2) and not set(first) & set(fitted)
    tables = [(p / "predictions.csv").read_bytes() for p in (path, again)]
    assert tables[0] == tables[1]


def test_folds_are_fitted_on_all_cores(finished, clips, tmp_path, monkeypatch):
    """Each of four cores fits one of the four folds at the same time."""
    config, path = finished
    monkeypatch.setattr(cores, "count", lambda: 4)
    together, fit = threading.Barrier(4), svm.fit

    def wait_for_the_others(*arguments, **options):
        together.wait(timeout=30)  # raises if fewer threads are at work
        return fit(*arguments, **options)

    monkeypatch.setattr(svm, "fit", wait_for_the_others)
    steps = []
    watch = {"step": lambda jobs, *_: steps.append(len(jobs))}
    again = run(config.change(runs_dir=str(tmp_path)), clips, watch=watch)
    assert steps == [4]
    tables = [(p / "predictions.csv").read_bytes() for p in (path, again)]
    assert tables[0] == tables[1]


def test_a_descriptor_is_compared_with_a_network(finished, clips, config, tmp_path):
    lbp, path = finished
    network = run(
        config.change(protocol="kfold", folds=2, seeds="2", epochs=1, name="network"),
        clips,
    )
    both = [predictions.read(p / "predictions.csv") for p in (path, network)]
    found = comparison.compare(*both)
    assert found["clips"] == len(clips)
    assert (path / "split.json").read_text() == (network / "split.json").read_text()


def test_a_leaking_split_is_refused(finished, clips, tmp_path):
    config, path = finished
    split = json.loads((path / "split.json").read_text())
    fold = split["seeds"]["0"][0]
    fold["train"].append(fold["test"][0])
    leaking = tmp_path / "split.json"
    leaking.write_text(json.dumps(split))
    with pytest.raises(UserError, match="Leak"):
        splits.make(config.change(split=str(leaking)), clips)


def test_clips_that_are_too_short_are_refused(clips, tmp_path):
    config = lbp_top(tmp_path, lbp_radius=(1, 1, 4))
    with pytest.raises(UserError, match="a clip has 8 frames.*--lbp_radius"):
        fitters.check(config.change(frames=8))  # before anything is prepared
    with pytest.raises(UserError, match="--lbp_radius"):
        run(config, clips)


def test_saliency_maps_are_refused(finished, records, clips):
    config, path = finished
    saved = reader.read(path)
    jobs = splits.jobs(splits.make(config, clips))
    sources = [Source("synthetic", records)]
    opened = verification.OpenedRun(saved, sources, clips, jobs)
    with pytest.raises(UserError, match="LBP-TOP.*not of a network"):
        Explainer(opened)


def test_saved_weights_give_the_saved_predictions(finished, clips):
    config, path = finished
    fitter = fitters.DescriptorFitter(config, clips)
    saved = predictions.read(path / "predictions.csv")
    for job in splits.jobs(splits.make(config, clips)):
        opened = verification.OpenedRun(reader.read(path), [], clips, [job])
        weights = opened.weights(job, fitter.weight_shapes)
        (found,) = fitter.predict([job.fold.test], [weights])
        of_fold = (saved.seeds == job.seed) & (saved.folds == job.fold.name)
        np.testing.assert_array_equal(found, saved.select(of_fold).probabilities)


def test_a_descriptor_is_calibrated_and_tested_at_a_lower_frame_rate(
    finished, records, tmp_path
):
    shutil.copytree(finished[1], tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    saved = json.loads(file.read_text()) | {"records": [str(records)]}
    saved["config"] |= {"frames": 8, "window": 16}  # as the records are
    file.write_text(json.dumps(saved))
    slow = reader.read(tmp_path / "run")
    report = lower_rate.evaluate(slow, 40)
    assert report["seeds"] == [0, 1] and report["phases"] == 3
    found = report["metrics"]["uf1"]
    parts = [
        predictions.read(slow.layout.lower_rate(40).predictions(phase))
        for phase in range(3)
    ]
    by_phase = [summary.summarise(part)["metrics"]["uf1"]["mean"] for part in parts]
    assert found["lower"]["by_phase"] == pytest.approx(by_phase)
    before = json.loads(slow.layout.report.read_text())["metrics"]["uf1"]
    assert found["full"]["mean"] == pytest.approx(before["mean"])
    assert found["full"]["interval"] == before["interval"]
    assert found["difference"]["mean"] == pytest.approx(
        np.mean(by_phase) - before["mean"]
    )
    # Two seeds are further predictions of the same four people.
    made = run_calibration.read_calibration(slow)
    assert (made.subjects, made.clips, made.threshold) == (4, 72, 0)
