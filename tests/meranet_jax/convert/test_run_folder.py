"""Conversion of the weights of a run."""

import dataclasses

import jax
import numpy as np
import pytest

from meranet_jax import weights_file
from meranet_jax.convert import __main__ as command_line
from meranet_jax.convert import conversion, run_folder
from meranet_jax.errors import UserError
from meranet_jax.runs import fold_metadata, reader
from meranet_jax.training import checkpoint, fitters
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import run


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """Settings and folder of a run with a fold for each of four subjects."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"stage_sizes": (1,), "reduction": 2}
    config = smallest(folder, epochs=1, protocol="loso", **options)
    return config, run(config, clips)


def fold_weights(config, path, clips, number):
    """Reads the weights of a fold as eval.py does."""
    fitter = fitters.make_fitter(config, clips, folds=4)
    (fold,) = reader.read(path).layout.find_folds(0, number)
    return checkpoint.read_weights(fold.weights, fitter.weight_shapes)


def test_weights_and_metadata_of_a_fold(trained, clips, tmp_path):
    config, path = trained
    name = reader.read(path).folds[2][2]
    command_line.main([str(path), str(tmp_path / "a.npz"), f"--fold={name}"])
    weights, metadata = weights_file.load(tmp_path / "a.npz")
    jax.tree.map(
        np.testing.assert_array_equal, weights, fold_weights(config, path, clips, 2)
    )
    assert metadata.model == "meranet"
    assert metadata.settings == {
        "width": 4,
        "stage_sizes": (1,),
        "shortcut": "projection",
        "attentions": ("channel", "spatio_temporal"),
        "reduction": 2,
        "kernel_size": 5,
        "shared": "cnn",
    }
    assert (metadata.input, metadata.frames, metadata.size) == ("rgb", 16, 16)
    assert metadata.classes == tuple(clips.classes)
    assert metadata.datasets == ("synthetic",)
    # All subjects but the one that the fold tests
    assert metadata.subjects == tuple(sorted(set(clips.subjects) - {name}))
    assert metadata.origin == (
        f"Trained on synthetic by the run {path.name}, seed 0, fold {name} of "
        "--protocol=loso."
    )


def test_subjects_of_a_fold_can_be_left_out(trained):
    finished = reader.read(trained[1])
    seed, _, name = finished.folds[1]
    _, metadata = run_folder.read(finished.path, seed, name)
    without = fold_metadata.of_fold(finished, seed, name)
    assert metadata.subjects
    assert without == dataclasses.replace(metadata, subjects=None)


def test_state_dicts_give_the_same_weights(trained, tmp_path):
    _, path = trained
    name = reader.read(path).folds[0][2]
    weights, metadata = run_folder.read(path, 0, name)
    command_line.main([str(path), str(tmp_path / "a.pth"), f"--fold={name}"])
    command_line.main([str(tmp_path / "a.pth"), str(tmp_path / "b.npz")])
    again = conversion.read(tmp_path / "b.npz")
    assert again.metadata == metadata
    jax.tree.map(np.testing.assert_array_equal, again.weights, weights)


def test_a_fold_must_be_chosen(trained, tmp_path):
    _, path = trained
    for arguments, message in (
        ([], "has 4 folds. Choose one of its 4, such as: --seed=0 --fold="),
        (["--seed=1"], "has no such fold. Choose one of its 4"),
        (["--fold=x"], "has no such fold. Choose one of its 4"),
    ):
        with pytest.raises(UserError, match=message):
            command_line.main([str(path), str(tmp_path / "a.npz"), *arguments])
    assert not list(tmp_path.iterdir())


def test_unfinished_folds_are_refused(trained, clips, tmp_path):
    config = trained[0].change(runs_dir=str(tmp_path), fold_shard="1/2")
    path = run(config, clips)
    first, second = (name for _, _, name in reader.read(path).folds[1:3])
    names = [first, second]
    finished = [n for _, n in reader.read(path).finished()]
    done = [name for _, number, name in reader.read(path).folds if number in finished]
    missing = next(name for name in names if name not in done)
    with pytest.raises(UserError, match=f"{missing} of seed 0 in .* is not finished"):
        run_folder.read(path, 0, missing)
    # Also subjects whose clips no finished fold has tested are known.
    _, metadata = run_folder.read(path, 0, done[0])
    assert metadata.subjects == tuple(sorted(set(clips.subjects) - {done[0]}))


def test_descriptors_are_refused(clips, tmp_path):
    config = smallest(tmp_path).from_flags(
        model="lbp_top", runs_dir=str(tmp_path), size=16, lbp_radius=(1, 1, 1)
    )
    path = run(config, clips)
    with pytest.raises(UserError, match="is a run of .*, which is not a network"):
        run_folder.read(path)
