"""Complete runs of the networks of other publications, on a few small clips."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from datasets.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from meranet_jax.analysis import explainer, saliency_checks
from meranet_jax.config import default_config
from meranet_jax.convert import conversion
from meranet_jax.inputs import registry
from meranet_jax.runs import merge, reader, verification
from tests.meranet_jax import running
from tests.meranet_jax.loading import load, source

pytestmark = pytest.mark.e2e

# Small sizes that the networks accept
SIZES = {
    "learnet": 16,
    "microexpstcnn": 8,
    "microattention": 16,
    "flow_cnn3d": 16,
    "ststnet": 8,
    "off_apexnet": 8,
    "rcn": 32,
}

# The others take long to compile. Their outputs, gradients, statistics, dropout and
# conversion are tested in models/test_systems.py, and runs on clips of several frames
# with MERANet.
CASES = [
    system if system == "ststnet" else pytest.param(system, marks=pytest.mark.slow)
    for system in SIZES
]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Records of 12 clips of 8 frames: 4 subjects, 3 emotions."""
    return prepare(tmp_path_factory.mktemp("records"), frames=8, window=16, size=32)


@pytest.fixture(scope="module")
def long_records(tmp_path_factory):
    """Records of 12 clips of 18 frames."""
    folder = tmp_path_factory.mktemp("records")
    return prepare(folder, sampling="tim", frames=18, size=16)


def prepare(folder, **options):
    config = SyntheticConfig(name="few", subjects=4, repetitions=1, **options)
    builder = Builder(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return builder.data_dir


def tiny(runs_dir, system, **changes):
    """Returns the configuration of a system for the small clips of the records."""
    frames = 18 if system == "microexpstcnn" else 8
    values = {"runs_dir": str(runs_dir), "frames": frames, "size": SIZES[system]}
    values |= {"record_size": None, "epochs": 2, "batch_size": 4, "devices": 1}
    return default_config("synthetic", "small", system).change(**values | changes)


def load_for(config, *records, **options):
    network_input = registry.find(config.input)
    return load(*records, size=config.size, network_input=network_input, **options)


@pytest.fixture(scope="module", params=CASES)
def finished(request, records, tmp_path_factory):
    """A finished run and its clips."""
    config = tiny(tmp_path_factory.mktemp("runs"), request.param)
    if config.frames == 18:
        records = request.getfixturevalue("long_records")
    clips = load_for(config, records)
    path = running.run(config, clips)
    return dataclasses.replace(reader.read(path), records=[records]), clips


def test_a_run_can_be_verified_and_converted(finished):
    run, _ = finished
    assert verification.check_predictions(run, None) < 1e-5
    (history,) = reader.read_epoch_metrics(run.path).values()
    assert len(history) == 2
    assert all(np.isfinite(line["train_loss"]) for line in history)
    converted = conversion.read(run.path)
    assert converted.metadata.model == run.config.model
    for suffix in (".npz", ".pth"):
        conversion.save(run.path / f"weights{suffix}", converted)
        again = conversion.read(run.path / f"weights{suffix}")
        for kind, tree in again.weights.items():
            jax.tree.map(np.testing.assert_array_equal, tree, converted.weights[kind])


@pytest.mark.parametrize(
    "finished",
    ["ststnet", pytest.param("rcn", marks=pytest.mark.slow)],
    indirect=True,
)
def test_saliency_maps(finished):
    run, _ = finished
    opened = verification.open_run(run, None)
    explain = explainer.Explainer(opened)
    ((job, clip_id), *_) = explainer.test_clips(opened, None, 1)
    (one,) = explain.explain(job, [clip_id])
    shape = (1, *(run.config.size,) * 2)
    assert one.grad_cam.shape == one.smooth_grad.shape == shape
    assert one.smooth_grad.max() > 0
    assert one.flow.shape == (*shape, 2)
    if run.config.model == "rcn":
        assert one.attention["head"].shape == shape
        assert 0 <= one.attention["head"].min() < one.attention["head"].max() <= 1
    if run.config.model == "ststnet":  # layers without weights are no obstacle
        rows = saliency_checks.sanity(explain, job, [clip_id])
        assert rows[0]["grad_cam"] == pytest.approx(1, abs=1e-3)


def steps_of(config, clips, folds=1):
    """Returns the losses and the parameters after each of three steps."""
    trainer = running.trainer_of(config, clips, folds=folds)
    trainer.set_states([trainer.initial_state(seed, 30) for seed in range(folds)])
    order = np.arange(12).reshape(3, 4)
    losses = [s["loss"] for s in trainer.train([order] * folds)]
    return np.concatenate(losses, 1), [trainer.weights(slot) for slot in range(folds)]


@pytest.mark.parametrize("finished", ["ststnet"], indirect=True)
def test_several_devices_compute_the_same_as_one(finished):
    """Dropout and batch statistics included; also for folds side by side."""
    run, clips = finished
    (one, (weights,)), (two, (others,)) = (
        steps_of(run.config.change(devices=devices), clips) for devices in (1, 2)
    )
    assert len(set(one[0])) == 3
    np.testing.assert_allclose(two, one, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(others), jax.tree.leaves(weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    parallel, _ = steps_of(run.config.change(devices=2), clips, folds=2)
    np.testing.assert_allclose(parallel[0], one[0], rtol=1e-4)
    assert np.abs(parallel[1] - one[0]).max() > 1e-3  # another seed


@pytest.mark.parametrize(
    "finished",
    ["ststnet", pytest.param("rcn", marks=pytest.mark.slow)],
    indirect=True,
)
def test_a_resumed_run_has_the_same_result(finished, tmp_path):
    """With dropout, batch statistics and the state of each optimiser."""
    complete, clips = finished

    class Killed(Exception):
        pass

    def kill(*arguments):
        raise Killed

    config = complete.config.change(runs_dir=str(tmp_path), checkpoint_every=0)
    trainer = running.trainer_of(config, clips, folds=1)
    with pytest.raises(Killed):
        running.run(config, clips, trainer=trainer, watch={"epoch": kill})
    resumed = running.run(config, clips, trainer=trainer)
    (first, _), (second, _) = (
        next(iter(reader.read(path).finished().values()))
        for path in (complete.path, resumed)
    )
    assert (second.path / "predictions.csv").read_bytes() == (
        first.path / "predictions.csv"
    ).read_bytes()
    one, other = (
        json.loads((f.path / "fold.json").read_text()) for f in (first, second)
    )
    assert one["epoch"] == other["epoch"]


def test_a_composite_data_set_under_loso_and_in_shards(records, tmp_path):
    config = tiny(
        tmp_path, "ststnet", dataset="synthetic,mylab", protocol="loso", epochs=1
    )
    load_for(config, records)  # computes the flow, which both read
    both = source(records), source(records, "mylab")
    # Two of the four subjects are of each data set, since equal clips are a leak.
    left_out = [
        clip_id
        for clip_id in load_for(config, *both).clip_ids
        if clip_id.startswith(("synthetic/s01", "synthetic/s02", "mylab/s03"))
        or clip_id.startswith("mylab/s04")
    ]
    clips = load_for(config, *both, leave_out=left_out)
    path = running.run(config, clips)
    report = json.loads((path / "report.json").read_text())
    assert report["folds"] == 4 and set(report["by_dataset"]) == {"synthetic", "mylab"}
    parts = [
        reader.read(running.run(config.change(fold_shard=f"{n}/2"), clips))
        for n in (1, 2)
    ]
    assert [len(part.finished()) for part in parts] == [2, 2]
    merge.merge(parts, tmp_path / "merged")
    merged = (tmp_path / "merged" / "predictions.csv").read_bytes()
    assert merged == (path / "predictions.csv").read_bytes()


@pytest.mark.parametrize("finished", ["ststnet"], indirect=True)
def test_training_starts_from_weights_with_frozen_layers(finished, tmp_path):
    run, clips = finished
    converted = conversion.read(run.path)
    of_others = dataclasses.replace(
        converted.metadata, datasets=("synthetic/varied",), subjects=("v1",)
    )
    weights = tmp_path / "first.npz"
    conversion.save(weights, dataclasses.replace(converted, metadata=of_others))
    config = run.config.change(
        name="second",
        runs_dir=str(tmp_path),
        init=str(weights),
        freeze="conv1,conv2",
        learning_rate=1e-3,
    )
    second = conversion.read(running.run(config, clips)).weights
    for name, group in second["params"].items():
        frozen = name.startswith(("conv1", "conv2"))
        same = jax.tree.map(np.array_equal, group, converted.weights["params"][name])
        assert all(jax.tree.leaves(same)) == frozen
