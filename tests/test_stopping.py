"""train.py told to stop, as a user or a scheduler does it; and what lies in its way."""

import contextlib
import os
import re
import signal
import time

import pytest

from meranet_jax.training import xla
from tests.programs import flags_of_a_copy, run_of, started


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Of a run that lasts as long as it may."""
    return flags_of_a_copy(tmp_path_factory.mktemp("stopping"))


@contextlib.contextmanager
def running(flags, until):
    """A process that has said a word; it does not outlive the block."""
    process = started("train.py", *flags)
    try:
        assert any(until in line for line in process.stdout), "it ended before"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_signal_keeps_the_state(flags):
    flags = [*flags, "--name=stopped", "--epochs=5000"]
    with running(flags, until="epoch 1/") as process:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "SIGTERM: stopping after this step; again: at once" in said
    assert "interrupted (SIGTERM); everything done so far is saved" in said
    assert "Traceback" not in said
    # And another start finds it, which is killed; and a third one that one's.
    with running([*flags, "--checkpoint_every=0"], until="resumes in epoch") as again:
        first = again.stdout.readline()
    with running(flags, until="resumes in epoch") as third:
        second = third.stdout.readline()
    epochs = [int(re.search(r"epoch (\d+)/", line)[1]) for line in (first, second)]
    assert epochs[0] <= epochs[1]


def test_a_second_signal_does_not_wait(flags):
    flags = [*flags, "--name=twice", "--epochs=5000"]
    with running(flags, until="epoch 1/") as process:
        process.send_signal(signal.SIGSTOP)  # so that both are there at once
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert "interrupted" not in said  # it had no time for this


def test_nobody_reads_what_is_said_when_it_stops(flags):
    """As after Ctrl-C to ``python train.py 2>&1 | tee log``: the reader is gone."""
    flags = [*flags, "--name=unread", "--epochs=5000"]
    with running(flags, until="epoch 1/") as process:
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout = None
    assert process.returncode == 130
    assert list(run_of(flags, "unread").glob("folds/*/checkpoints/[0-9]*"))


def test_a_signal_before_training_ends_it_in_order(flags, tmp_path):
    flags = [f for f in flags if not f.startswith("--data_dir")]
    process = started("train.py", *flags, f"--data_dir={tmp_path}", "--name=early")
    while not list(tmp_path.iterdir()):  # of the records that are prepared
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "interrupted (SIGTERM)" in said and "Traceback" not in said


def test_equal_bits_are_demanded_of_xla(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    xla.demand_equal_bits()
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_cpu_enable_fast_math=false",
        "--xla_gpu_deterministic_ops=true",
    ]
