"""GPUs of a node are divided between its processes, and missing ones are named."""

import os
import re
import subprocess
import sys

import pytest

from meranet_jax.config import default_config
from meranet_jax.training import devices, launchers

STEP = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "8"}


def slurm(tasks, rank, *, node="0", **more):
    """Returns the environment of a task of Slurm."""
    place = {"SLURM_LOCALID": str(rank), "SLURM_NODEID": node}
    return STEP | place | {"SLURM_STEP_TASKS_PER_NODE": tasks} | more


FOUR = {"SLURM_GPUS_ON_NODE": "4"}
ALL_VISIBLE = FOUR | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        # One task on each node uses all of its GPUs.
        (slurm("1(x2)", 0, **ALL_VISIBLE), []),
        (slurm("1(x2)", 0), []),
        # Tasks that see the same GPUs divide them.
        (slurm("4(x2)", 2, **ALL_VISIBLE), [2]),
        (slurm("2(x2)", 1, **ALL_VISIBLE), [2, 3]),
        (slurm("3", 1, **ALL_VISIBLE), [1]),
        (slurm("3", 2, **ALL_VISIBLE), [2, 3]),
        (slurm("2", 1, **FOUR), [2, 3]),
        # The second node has one task.
        (slurm("2,1", 0, node="1", **ALL_VISIBLE), []),
        (slurm("2,1", 0, node="0", **ALL_VISIBLE), [0, 1]),
        # Slurm has bound tasks to GPUs of their own.
        (slurm("4", 3, **FOUR, CUDA_VISIBLE_DEVICES="0"), []),
        (
            slurm("2", 1, **FOUR, CUDA_VISIBLE_DEVICES="0,1", SLURM_GPUS_PER_TASK="2"),
            [],
        ),
        (
            slurm("2", 1, **FOUR, CUDA_VISIBLE_DEVICES="0,1", SLURM_GPU_BIND="closest"),
            [],
        ),
        (
            slurm(
                "2",
                1,
                **FOUR,
                CUDA_VISIBLE_DEVICES="0,1",
                SLURM_TRES_PER_TASK="gres/gpu:2",
            ),
            [],
        ),
        (
            slurm(
                "2", 1, **FOUR, CUDA_VISIBLE_DEVICES="0,1", SLURM_GPU_BIND="quiet,none"
            ),
            [1],
        ),
        # The user has hidden two of the four.
        (slurm("2", 1, **FOUR, CUDA_VISIBLE_DEVICES="0,1"), [1]),
        (slurm("2", 1, **ALL_VISIBLE, JAX_LOCAL_DEVICE_IDS="3"), None),
        # No GPUs, or too little is known: JAX decides.
        (slurm("2", 1), None),
        (slurm("2(y3)", 1, **FOUR), None),
        ({}, None),
        # Open MPI, whose ranks may have been given a GPU each
        (
            {
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "CUDA_VISIBLE_DEVICES": "1",
            },
            [],
        ),
        (
            {
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "CUDA_VISIBLE_DEVICES": "0,1",
            },
            [1],
        ),
    ],
)
def test_gpus_of_a_process(environment, expected):
    assert launchers.local_device_ids(environment) == expected


@pytest.mark.parametrize(
    ("environment", "platform", "devices", "expected"),
    [
        (ALL_VISIBLE, "gpu", 4, None),
        (
            ALL_VISIBLE,
            "gpu",
            1,
            "sees 1 of the 4 GPUs that its job asked for. CUDA_VIS",
        ),
        (ALL_VISIBLE, "cpu", 8, "sees 0 of the 4 GPUs .* runs on the CPU.*--info"),
        (ALL_VISIBLE | {"JAX_PLATFORMS": "cpu"}, "cpu", 8, None),
        (slurm("2", 0, **FOUR), "gpu", 2, None),
        (slurm("2", 0, **FOUR), "gpu", 1, "sees 1 of the 2 GPUs"),
        ({"SLURM_GPUS_PER_TASK": "a100:2", **FOUR}, "gpu", 1, "1 of the 2"),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "gpu", 1, "1 of the 2"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937,MIG-1/2"}, "gpu", 1, "1 of the 2"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "cpu", 8, None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "cpu", 8, None),
        ({}, "cpu", 8, None),
    ],
)
def test_missing_gpus_are_named(environment, platform, devices, expected):
    note = launchers.describe_missing_gpus(environment, platform, devices)
    if expected is None:
        assert note is None
    else:
        assert re.search(expected, note)


class Gpu:
    """A device of a platform that is not here."""

    platform = "gpu"


@pytest.mark.parametrize(
    ("used", "folds", "flags", "expected"),
    [
        (4, 1, {}, None),
        (
            2,
            1,
            {"batch_size": 10},
            "2 of the 4 devices .*: the clips of a step must be",
        ),
        (
            3,
            3,
            {},
            "3 of the 4 devices of this process are used, one for each of the 3",
        ),
        (2, 1, {"devices": 2}, None),  # as asked
    ],
)
def test_idle_gpus_are_named(monkeypatch, used, folds, flags, expected):
    monkeypatch.setattr(devices.jax, "local_devices", lambda: [Gpu()] * 4)
    config = default_config("synthetic", "small").change(**flags)
    note = devices.describe_unused(config, [Gpu()] * used, folds)
    assert (note is None) if expected is None else re.search(expected, note)


PROGRAM = """
import jax
from meranet_jax.config import TrainConfig
from meranet_jax.training import distributed

distributed.initialize(TrainConfig())
print(distributed.process_count(), jax.config.values["jax_cuda_visible_devices"])
distributed.barrier("end")
"""


@pytest.mark.parametrize(
    ("tasks", "ranks", "expected"),
    [("1(x2)", "00", ["all"] * 2), ("2", "01", ["0,1", "2,3"])],
)
def test_jax_sees_the_gpus_of_each_task(tasks, ranks, expected):
    """JAX alone would use one GPU in each task."""
    common = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=common
            | slurm(tasks, rank, node=str(number if tasks != "2" else 0), **ALL_VISIBLE)
            | {"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
            | {"SLURM_JOB_ID": str(os.getpid()), "SLURM_PROCID": str(number)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, rank in enumerate(ranks)
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in started]
    assert outputs == [["2", visible] for visible in expected]
