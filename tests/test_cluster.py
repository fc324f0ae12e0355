"""Processes that work together, as a cluster's launcher starts them."""

import json
import re
import signal
import socket
import time

import numpy as np
import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import reader
from meranet_jax.training import distributed
from tests.programs import flags_of_a_copy, program, run_of, started


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Of four folds: two parts of the subjects, twice."""
    folds = ["--protocol=kfold", "--folds=2", "--seeds=2", "--epochs=1"]
    return [*flags_of_a_copy(tmp_path_factory.mktemp("cluster")), *folds]


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
    """Returns the output of processes without the messages of Gloo."""
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [re.sub(r"\[Gloo\].*\n", "", text) for text in said]


def test_two_processes_share_the_folds_of_a_run(flags, joined):
    flags = [*flags, "--name=both"]
    together = [started("train.py", *flags, *mine) for mine in joined]
    first, second = outputs(together)
    assert [p.returncode for p in together] == [0, 0], first + second
    assert "in each of 2 processes" in first and "Report: " in first
    assert second == ""  # it has nothing to add
    # Each trained two of the four folds, and the first tells of its own alone.
    assert first.count("epoch 1/1") == 2

    alone = program("train.py", *flags[:-1], "--name=alone")
    assert alone.returncode == 0, alone.stderr
    both, one = (run_of(flags, name) for name in ("both", "alone"))
    tables = [(run / "predictions.csv").read_text() for run in (both, one)]
    assert tables[0] == tables[1]
    (start,) = json.loads((both / "config.json").read_text())["starts"]
    assert start["processes"] == 2


@pytest.fixture(scope="module")
def one_fold(flags):
    """Flags of a hold-out of 12 steps, and what one process with one device makes."""
    kept = [f for f in flags if not f.startswith(("--protocol", "--seeds", "--folds"))]
    few = ["--epochs=4", "--learning_rate=1e-4", "--select=last"]
    flags = [*kept, "--protocol=holdout", *few]
    alone = program("train.py", *flags, "--name=single")
    assert alone.returncode == 0, alone.stderr
    return flags, read(flags, "single")


def read(flags, name):
    """The probabilities, and the losses of all epochs, of a run."""
    run = run_of(flags, name)
    (lines,) = reader.read_epoch_metrics(run).values()
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    losses = [[line["train_loss"], line["validation_loss"]] for line in lines]
    return predictions.read(run / "predictions.csv").probabilities, np.array(losses)


def assert_close(ours, theirs):
    """What dividing a batch may change: the last bits, over twelve steps."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)


def test_two_processes_of_two_devices_train_one_fold(one_fold, joined):
    flags, alone = one_fold
    flags = [*flags, "--name=divided", "--devices=2"]
    together = [started("train.py", *flags, *mine) for mine in joined]
    first, second = outputs(together)
    assert [p.returncode for p in together] == [0, 0], first + second
    assert "2 x cpu in each of 2 processes" in first and second == ""
    assert first.count("epoch 4/4") == 1
    assert_close(read(flags, "divided"), alone)


def test_what_one_of_them_is_told_stops_all_and_others_go_on(one_fold, joined):
    """With another number of processes and devices."""
    flags, alone = one_fold
    flags = [*flags, "--name=stopped", "--checkpoint_every=0"]
    together = [started("train.py", *flags, *mine) for mine in joined]
    for line in together[0].stdout:
        if "epoch 1/4" in line:
            break
    together[1].send_signal(signal.SIGTERM)
    first, second = outputs(together)
    assert [p.returncode for p in together] == [143, 143], first + second
    assert "process 0 of 2: interrupted (SIGTERM)" in first
    assert "process 1 of 2: interrupted (SIGTERM)" in second
    again = program("train.py", *flags, "--devices=2")
    assert again.returncode == 0, again.stderr
    assert "resumes in epoch" in again.stdout
    assert_close(read(flags, "stopped"), alone)


@pytest.mark.slow
def test_one_that_dies_takes_the_others_down(one_fold, joined):
    flags, alone = one_fold
    flags = [*flags, "--name=killed", "--checkpoint_every=0", "--epochs=4"]
    together = [started("train.py", *flags, *mine) for mine in joined]
    for line in together[0].stdout:
        if "epoch 1/4" in line:
            break
    together[1].kill()
    start = time.monotonic()
    first, _ = outputs(together)
    assert time.monotonic() - start < 60
    assert together[0].returncode != 0
    assert "(stopped sending heartbeats):\n1\n" in first  # its number
    again = program("train.py", *flags)
    assert again.returncode == 0, again.stderr
    assert_close(read(flags, "killed"), alone)


def test_one_that_fails_takes_the_others_down(flags, joined, tmp_path):
    flags = [*flags, f"--data_dir={tmp_path}", "--name=broken"]
    broken = [*flags, "--manual_dir=nowhere"]
    first = started("train.py", *broken, *joined[0])
    second = started("train.py", *flags, *joined[1])
    said, other = outputs([first, second])  # within their time limit
    assert "process 0 of 2: error: " in said
    assert first.returncode == 1 and second.returncode != 0
    assert "another task died" in other


def test_processes_that_were_told_different_things_end(flags, joined):
    said = outputs(
        [
            started("train.py", *flags, "--name=other", f"--epochs={n + 1}", *mine)
            for n, mine in enumerate(joined)
        ]
    )
    for n, text in enumerate(said):
        assert f"processes of this run differ in --epochs (here {n + 1})" in text


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "2"},  # the script of a job, and not a step of it
        {"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "node1"},
    ],
)
def test_a_process_that_was_started_alone_joins_nothing(environment):
    distributed.join(TrainConfig(), environment)
    assert distributed.size() == 1


def test_parts_of_the_folds_are_trained_apart():
    distributed.join(
        TrainConfig(fold_shard="1/2"),
        {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "node1"},
    )
    assert distributed.size() == 1


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
    with pytest.raises(UserError, match="set all three"):
        TrainConfig(**given)
