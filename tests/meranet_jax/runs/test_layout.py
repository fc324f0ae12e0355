from pathlib import Path

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.data.protocols import Fold
from meranet_jax.data.splits import Job
from meranet_jax.runs import layout
from meranet_jax.runs.layout import FoldLayout, RunLayout


def job(name="s01", seed=3, number=7):
    return Job(number, seed, Fold(name, *3 * [np.arange(1)]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("holdout", "seed3-007-holdout"),
        ("casme/sub01", "seed3-007-casme_sub01"),
        ("../a b", "seed3-007-.._a_b"),
    ],
)
def test_names_of_fold_folders(name, expected):
    assert layout.fold_name(job(name)) == expected
    assert layout.seed_of_fold(expected) == 3


def test_existing_folds_are_found(tmp_path):
    run = RunLayout(tmp_path)
    assert run.all_folds() == [] == run.find_folds(3, 7)
    for one in (job(number=70), job(), job(seed=31)):
        run.fold(one).path.mkdir(parents=True)
    assert run.find_folds(3, 7) == [run.fold(job())]
    assert run.all_folds() == [
        run.fold(one) for one in (job(), job(number=70), job(seed=31))
    ]


def test_interrupted_weights_are_found(tmp_path):
    fold = FoldLayout(tmp_path)
    interrupted = tmp_path / "weights.orbax-checkpoint-tmp"
    for folder in (fold.weights, interrupted):
        folder.mkdir()
    assert fold.unfinished_weights == [interrupted]


def test_files_before_the_configuration():
    assert RunLayout(Path("run")).first_files() == {
        *(".lock", "split.json", ".split.json.part", ".config.json.part")
    }


def test_shards_have_folders_of_their_own():
    config = TrainConfig(name="mine", runs_dir="/runs")
    assert layout.run_path(config) == Path("/runs/mine")
    shard = config.change(fold_shard="2/8")
    assert layout.run_path(shard) == Path("/runs/mine-shard2of8")
    assert layout.shards_pattern(shard) == "/runs/mine-shard*"
