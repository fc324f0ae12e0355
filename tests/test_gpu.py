"""The programs on an NVIDIA GPU, compared with the same on a CPU.

All other tests run on a CPU. These are skipped where no NVIDIA driver answers.
"""

import shutil
import signal
import subprocess

import numpy as np
import pytest

from meranet_jax.evaluation import predictions
from tests.programs import flags_of_a_copy, program, run_of, started

# The first device that JAX finds, as for users, without its reserve of memory
GPU = {"JAX_PLATFORMS": None, "XLA_FLAGS": None, "XLA_PYTHON_CLIENT_PREALLOCATE": "0"}


def driver_answers():
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.skipif(not driver_answers(), reason="there is no NVIDIA GPU"),
    pytest.mark.e2e,
]


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of a short run on a generated copy, which is tested as it ends."""
    flags = flags_of_a_copy(tmp_path_factory.mktemp("gpu"))
    return [*flags, "--batch_size=4", "--select=last"]


def trained(flags, name, *more, **environment):
    """Runs train.py, and returns the folder of the run and what was printed."""
    arguments = [*flags, f"--name={name}", "--epochs=3", *more]
    done = program("train.py", *arguments, **GPU | environment)
    assert done.returncode == 0, done.stderr
    on_cpu = environment.get("JAX_PLATFORMS") == "cpu"
    # Without its plugin for CUDA, JAX goes on with the CPU.
    assert ("on 1 x cpu" in done.stdout) == on_cpu, done.stdout
    return run_of(flags, name), done.stdout


def probabilities(run):
    return predictions.read(run / "predictions.csv").probabilities


@pytest.fixture(scope="module")
def exact(flags):
    """A run on the GPU in float32, and what it has printed."""
    return trained(flags, "exact", "--precision=fp32")


def test_a_run_agrees_with_one_on_a_cpu(flags, exact):
    run, printed = exact
    assert "fp32, on 1 x " in printed
    other, _ = trained(flags, "cpu", "--precision=fp32", JAX_PLATFORMS="cpu")
    found, expected = probabilities(run), probabilities(other)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    # The CPU evaluates what the GPU has trained.
    evaluated = program("eval.py", f"--run={run}")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "each clip has the same predicted class" in evaluated.stdout


@pytest.mark.parametrize("precision, most", [("tf32", 0.05), ("bf16", 0.2)])
def test_lower_precisions_are_near(flags, exact, precision, most):
    run, printed = trained(flags, precision, f"--precision={precision}")
    assert f"{precision}, on 1 x " in printed
    difference = np.abs(probabilities(run) - probabilities(exact[0])).max()
    assert 0 < difference < most


def test_equal_bits_and_resuming(flags):
    """With --deterministic, and where the run is interrupted."""
    flags = [*flags, "--deterministic"]
    runs = [trained(flags, name, "--epochs=300")[0] for name in ("one", "two")]
    process = started("train.py", *flags, "--name=stopped", "--epochs=300", **GPU)
    assert any("epoch 2/" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    resumed, printed = trained(flags, "stopped", "--epochs=300")
    assert "resumes in epoch" in printed
    files = {(run / "predictions.csv").read_text() for run in (*runs, resumed)}
    assert len(files) == 1


def test_folds_in_parallel_and_flow(flags):
    """Leave-one-subject-out with optical flow, as the recipe for new people."""
    flags = [*flags, "--protocol=loso", "--input=onset_apex_flow", "--precision=fp32"]
    run, _ = trained(flags, "folds")
    other, _ = trained(flags, "folds_cpu", JAX_PLATFORMS="cpu")
    np.testing.assert_allclose(probabilities(run), probabilities(other), atol=2e-3)


def test_maps_of_where_the_network_looks(exact, tmp_path):
    done = program("saliency.py", f"--run={exact[0]}", f"--out={tmp_path}", **GPU)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.png"))
