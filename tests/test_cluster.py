"""Runs of several processes, as a cluster's launcher starts them."""

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
from tests.programs import flags_of_a_copy, run_of, started, train

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of four folds: two folds for each of two seeds."""
    folds = ["--protocol=kfold", "--folds=2", "--seeds=2", "--epochs=1"]
    return [*flags_of_a_copy(tmp_path_factory.mktemp("cluster")), *folds]


@pytest.fixture
def process_flags():
    """The flags of each of two processes of one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        [f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={n}"]
        for n in range(2)
    ]


def outputs(processes):
    """Waits for processes; returns their outputs without the messages of Gloo."""
    try:
        texts = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [re.sub(r"\[Gloo\].*\n", "", text) for text in texts]


@pytest.mark.slow  # the next test has two processes, too, but for one fold
def test_two_processes_divide_the_folds(flags, process_flags):
    flags = [*flags, "--name=two_processes"]
    processes = [started("train.py", *flags, *mine) for mine in process_flags]
    first, second = outputs(processes)
    assert [p.returncode for p in processes] == [0, 0], first + second
    assert "in each of 2 processes" in first and "Report: " in first
    assert second == ""
    # Each trained two of the four folds, and the first reports its own only.
    assert first.count("epoch 1/1") == 2

    train(*flags[:-1], "--name=one_process")
    two, one = (run_of(flags, name) for name in ("two_processes", "one_process"))
    tables = [(run / "predictions.csv").read_text() for run in (two, one)]
    assert tables[0] == tables[1]
    (start,) = json.loads((two / "config.json").read_text())["starts"]
    assert start["processes"] == 2


@pytest.fixture(scope="module")
def one_fold(flags):
    """Flags of a hold-out of 12 steps, and its results in one process on one device."""
    kept = [f for f in flags if not f.startswith(("--protocol", "--seeds", "--folds"))]
    few = ["--epochs=4", "--learning_rate=1e-4", "--select=last"]
    flags = [*kept, "--protocol=holdout", *few]
    train(*flags, "--name=single")
    return flags, read(flags, "single")


def read(flags, name):
    """Returns the probabilities of a run, and the losses of all epochs."""
    run = run_of(flags, name)
    (history,) = reader.read_epoch_metrics(run).values()
    assert [metrics["epoch"] for metrics in history] == [1, 2, 3, 4]
    losses = [[m["train_loss"], m["validation_loss"]] for m in history]
    return predictions.read(run / "predictions.csv").probabilities, np.array(losses)


def assert_close(actual, expected):
    """Compares results up to rounding, which dividing a batch changes."""
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5)


@pytest.mark.slow  # the next test trains in the same way, but is stopped in between
def test_two_processes_of_two_devices_train_one_fold(one_fold, process_flags):
    flags, single = one_fold
    flags = [*flags, "--name=divided", "--devices=2"]
    processes = [started("train.py", *flags, *mine) for mine in process_flags]
    first, second = outputs(processes)
    assert [p.returncode for p in processes] == [0, 0], first + second
    assert "2 x cpu in each of 2 processes" in first and second == ""
    assert first.count("epoch 4/4") == 1
    assert_close(read(flags, "divided"), single)


def test_signal_to_one_process_stops_all(one_fold, process_flags):
    """The run is resumed with another number of processes and devices."""
    flags, single = one_fold
    flags = [*flags, "--name=stopped", "--checkpoint_every=0"]
    four = [*flags, "--devices=2"]
    processes = [started("train.py", *four, *mine) for mine in process_flags]
    for line in processes[0].stdout:
        if "epoch 1/4" in line:
            break
    processes[1].send_signal(signal.SIGTERM)
    first, second = outputs(processes)
    assert [p.returncode for p in processes] == [143, 143], first + second
    assert "process 0 of 2: interrupted (SIGTERM)" in first
    assert "process 1 of 2: interrupted (SIGTERM)" in second
    assert "resumes in epoch" in train(*flags, "--devices=2")
    assert_close(read(flags, "stopped"), single)


@pytest.mark.slow
def test_death_of_one_process_ends_the_others(one_fold, process_flags):
    flags, single = one_fold
    flags = [*flags, "--name=killed", "--checkpoint_every=0", "--epochs=4"]
    processes = [started("train.py", *flags, *mine) for mine in process_flags]
    for line in processes[0].stdout:
        if "epoch 1/4" in line:
            break
    processes[1].kill()
    start = time.monotonic()
    first, _ = outputs(processes)
    assert time.monotonic() - start < 60
    assert processes[0].returncode != 0
    assert "(stopped sending heartbeats):\n1\n" in first  # the index of the process
    train(*flags)
    assert_close(read(flags, "killed"), single)


def test_failure_of_one_process_ends_the_others(flags, process_flags, tmp_path):
    flags = [*flags, f"--data_dir={tmp_path}", "--name=broken"]
    broken = [*flags, "--manual_dir=nowhere"]
    first = started("train.py", *broken, *process_flags[0])
    second = started("train.py", *flags, *process_flags[1])
    failed, other = outputs([first, second])  # within their time limit
    assert "process 0 of 2: error: " in failed
    assert first.returncode == 1 and second.returncode != 0
    assert "another task died" in other


def test_processes_with_different_flags_are_refused(flags, process_flags):
    texts = outputs(
        [
            started("train.py", *flags, "--name=other", f"--epochs={n + 1}", *mine)
            for n, mine in enumerate(process_flags)
        ]
    )
    for n, text in enumerate(texts):
        assert f"processes of this run differ in --epochs (here {n + 1})" in text


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "2"},  # the script of a job, not a job step
        {"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "node1"},
    ],
)
def test_single_process_is_not_distributed(environment):
    distributed.initialize(TrainConfig(), environment)
    assert distributed.process_count() == 1


def test_processes_of_fold_shards_are_not_distributed():
    distributed.initialize(
        TrainConfig(fold_shard="1/2"),
        {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "node1"},
    )
    assert distributed.process_count() == 1


@pytest.mark.parametrize(
    "given",
    [
        {"coordinator": "localhost:1234"},
        {"coordinator": "localhost:1234", "num_processes": 2},
        {"coordinator": "localhost:1234", "num_processes": 2, "process_id": 2},
        {"process_id": 1},
    ],
)
def test_incomplete_address_is_refused(given):
    with pytest.raises(UserError, match="set all three"):
        TrainConfig(**given)
