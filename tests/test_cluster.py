"""Processes that work together, as a cluster's launcher starts them."""

import json
import socket

import pytest

from meranet_jax import cluster
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from tests.datasets.casme2_tree import SOME, write_tree
from tests.programs import SMALLEST, program, started


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Of four folds: two parts of the subjects, twice."""
    folder = tmp_path_factory.mktemp("cluster")
    write_tree(folder / "copy", rows=SOME)
    return [
        "--dataset=casme2",
        f"--manual_dir={folder / 'copy'}",
        f"--data_dir={folder / 'data'}",
        f"--runs_dir={folder / 'runs'}",
        "--protocol=kfold",
        "--folds=2",
        "--seeds=2",
        "--epochs=1",
        "--devices=1",
        *SMALLEST,
    ]


@pytest.fixture
def joined():
    """The flags of each of two processes that work together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        [f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={n}"]
        for n in range(2)
    ]


def outputs(processes):
    return [process.communicate(timeout=300)[0] for process in processes]


def test_two_processes_share_the_folds_of_a_run(flags, joined):
    flags = [*flags, "--name=both"]
    together = [started("train.py", *flags, *mine) for mine in joined]
    first, second = outputs(together)
    assert [p.returncode for p in together] == [0, 0], first + second
    assert "in each of 2 processes" in first and "Report: " in first
    assert second == ""  # it has nothing to add
    # Each trained two of the four folds, and the first tells of its own alone.
    assert first.count("epoch 1/1") == 2

    folder = next(f for f in flags if f.startswith("--runs_dir=")).partition("=")[2]
    alone = program("train.py", *flags[:-1], "--name=alone")
    assert alone.returncode == 0, alone.stderr
    both, one = (f"{folder}/{name}" for name in ("both", "alone"))
    with open(f"{both}/predictions.csv") as ours:
        with open(f"{one}/predictions.csv") as theirs:
            assert ours.read() == theirs.read()
    with open(f"{both}/config.json") as file:
        (start,) = json.load(file)["starts"]
    assert start["processes"] == 2


def test_several_processes_do_not_train_one_fold_yet(flags, joined):
    flags = [*flags, "--name=one", "--protocol=holdout", "--seeds=1"]
    for said in outputs([started("train.py", *flags, *mine) for mine in joined]):
        assert "2 processes cannot train a single fold together yet." in said


def test_one_that_fails_takes_the_others_down(flags, joined, tmp_path):
    flags = [*flags, f"--data_dir={tmp_path}", "--name=broken"]
    broken = [*flags, "--manual_dir=nowhere"]
    first = started("train.py", *broken, *joined[0])
    second = started("train.py", *flags, *joined[1])
    said, other = outputs([first, second])  # within their time limit
    assert "process 0 of 2: error: " in said
    assert first.returncode == 1 and second.returncode != 0
    assert "another task died" in other


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "2"},  # the script of a job, and not a step of it
        {"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "node1"},
    ],
)
def test_a_process_that_was_started_alone_joins_nothing(environment):
    cluster.join(TrainConfig(), environment)
    assert cluster.size() == 1


def test_parts_of_the_folds_are_trained_apart():
    cluster.join(
        TrainConfig(fold_shard="1/2"),
        {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "node1"},
    )
    assert cluster.size() == 1


@pytest.mark.parametrize(
    "given",
    [
        {"coordinator": "localhost:1234"},
        {"coordinator": "localhost:1234", "num_processes": 2},
        {"coordinator": "localhost:1234", "num_processes": 2, "process_id": 2},
        {"process_id": 1},
    ],
)
def test_half_an_address_is_refused(given):
    with pytest.raises(UserError, match="give all three"):
        TrainConfig(**given)
