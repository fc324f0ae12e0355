"""Stopping train.py by signals, as users and schedulers do."""

import contextlib
import os
import re
import signal
import time

import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.runs.train_run import load_clips
from meranet_jax.training import signals, xla
from tests.programs import flags_of_a_copy, run_of, started

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of a run, without a number of epochs."""
    return flags_of_a_copy(tmp_path_factory.mktemp("stopping"))


@contextlib.contextmanager
def running(flags, until):
    """Starts train.py, waits for a text in its output, and kills it after the block."""
    process = started("train.py", *flags)
    try:
        assert any(until in line for line in process.stdout), "the process ended before"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_signal_saves_the_state(flags):
    flags = [*flags, "--name=stopped", "--epochs=5000"]
    with running(flags, until="epoch 1/") as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "SIGTERM: stopping after this step; send it again to stop now" in output
    assert (
        "interrupted (SIGTERM); all finished steps of the training are saved" in output
    )
    assert "Traceback" not in output
    # The second start resumes and is stopped after its output was closed, as after
    # Ctrl-C to ``python train.py 2>&1 | tee log``, which ends tee, too.
    saved = steps_of(flags, "stopped")
    with running(flags, until="resumes in epoch") as again:
        assert any("epoch " in line for line in again.stdout)
        again.stdout.close()
        again.send_signal(signal.SIGINT)
        again.wait(timeout=60)
        again.stdout = None
    assert again.returncode == 130
    assert max(steps_of(flags, "stopped")) > max(saved)


def steps_of(flags, name):
    """The steps after which a run was saved."""
    paths = run_of(flags, name).glob("folds/*/checkpoints/[0-9]*")
    return [int(path.name) for path in paths]


def test_second_signal_ends_the_process_at_once(flags):
    flags = [*flags, "--name=twice", "--epochs=5000"]
    with running(flags, until="epoch 1/") as process:
        process.send_signal(signal.SIGSTOP)  # so that both arrive at the same time
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert "interrupted" not in output


@pytest.mark.slow  # tests of resuming cover it within a process
def test_a_run_that_is_killed_resumes(flags):
    """The first start is killed; the third resumes from what the second has saved."""
    flags = [*flags, "--name=killed", "--epochs=5000", "--checkpoint_every=0"]
    with running(flags, until="epoch 1/"):
        pass
    epochs = []
    for _ in range(2):
        with running(flags, until="resumes in epoch") as process:
            epochs.append(int(re.search(r"epoch (\d+)/", process.stdout.readline())[1]))
    assert epochs[0] <= epochs[1]


def test_signal_before_training_exits_cleanly(flags, tmp_path):
    flags = [f for f in flags if not f.startswith("--data_dir")]
    process = started("train.py", *flags, f"--data_dir={tmp_path}", "--name=early")
    while not list(tmp_path.iterdir()):  # until records are being prepared
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in output
    assert (
        "interrupted (SIGTERM); nothing was trained; no records of casme2 are kept"
        in output
    )
    assert "finished steps" not in output
    assert not list(tmp_path.glob("casme2/*/[0-9]*"))


def test_what_is_kept_while_clips_are_prepared_is_said_for_each_data_set(tmp_path):
    config = TrainConfig(dataset="casme2,smic,samm", classes="megc3")

    def prepare(one):
        if one.dataset == "samm":
            raise signals.Interrupted(signal.SIGINT)
        return tmp_path

    with pytest.raises(signals.Interrupted) as stopped:
        load_clips(config, prepare)
    assert stopped.value.kept == (
        "nothing was trained; no records of samm are kept unless all clips were "
        "written, and those of casme2, smic are kept"
    )


def test_deterministic_operations_are_enabled(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    xla.enable_deterministic_ops()
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_cpu_enable_fast_math=false",
        "--xla_gpu_deterministic_ops=true",
    ]
