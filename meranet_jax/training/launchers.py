"""What Slurm and Open MPI tell a process about its devices, in its environment."""

import re
from collections.abc import Mapping

# Set in a job step of Slurm, which runs in parallel, and not in the job's script.
_SLURM_STEP = "SLURM_STEP_NODELIST"

# Environment variables of Slurm that say how tasks are bound to GPUs
_GPU_BINDINGS = ("SLURM_GPU_BIND", "SLURM_TRES_BIND")

# Environment variables in which launchers give the number of processes.
_PROCESS_COUNTS = {"Slurm": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}


def is_distributed(environment: Mapping[str, str]) -> bool:
    """Returns whether a launcher has started this program as several processes."""
    for launcher, name in _PROCESS_COUNTS.items():
        count = environment.get(name, "1")
        parallel = launcher != "Slurm" or _SLURM_STEP in environment
        if parallel and count.isdecimal() and int(count) > 1:
            return True
    return False


def local_device_ids(environment: Mapping[str, str]) -> list[int] | None:
    """Returns the GPUs that a process uses of those that it sees.

    Without this, JAX uses a single GPU in each process of Slurm and Open MPI, however
    many the node has.

    Args:
      environment: the environment variables of the process.

    Returns:
      Indices among the visible GPUs, for ``jax.distributed.initialize``. Processes of a
      node that see the same GPUs divide them. Empty for all that are visible; None if
      the launcher does not say enough, which leaves the choice to JAX.
    """
    place = _place_on_node(environment)
    if place is None or environment.get("JAX_LOCAL_DEVICE_IDS"):
        return None
    rank, tasks = place
    if tasks == 1:
        return []
    on_node = _gpus_on_node(environment)
    visible = _visible_gpus(environment)
    if visible is None:
        visible = on_node
    if visible is None:
        return None
    bindings = [environment.get(name, "") for name in _GPU_BINDINGS]
    bound = (
        "SLURM_GPUS_PER_TASK" in environment
        or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
        # An option may precede the kind: verbose,none
        or any(text and not text.endswith("none") for text in bindings)
    )
    if visible < tasks or (bound and on_node is not None and visible < on_node):
        return []  # the launcher has given each process GPUs of its own
    return list(range(rank * visible // tasks, (rank + 1) * visible // tasks))


def describe_missing_gpus(
    environment: Mapping[str, str], platform: str, devices: int
) -> str | None:
    """Returns a note if a process sees fewer GPUs than its job asked for, else None.

    Args:
      environment: the environment variables of the process.
      platform: of its devices, such as ``cpu``.
      devices: number of its devices.
    """
    asked = _gpus_of_process(environment)
    seen = 0 if platform == "cpu" else devices
    if asked is None or seen >= asked or "cpu" in environment.get("JAX_PLATFORMS", ""):
        return None
    text = f"note: this process sees {seen} of the {asked} GPUs that its job asked for"
    if platform == "cpu":
        return (
            f"{text}, and runs on the CPU. python -m meranet_jax --info shows what is "
            "installed; requirements.txt installs JAX for NVIDIA GPUs"
        )
    return (
        f"{text}. CUDA_VISIBLE_DEVICES or --gpu-bind of srun may hide the others "
        "(docs/clusters.md)"
    )


def _place_on_node(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Returns the index of a process on its node, and the number of processes there."""
    rank = environment.get("OMPI_COMM_WORLD_LOCAL_RANK", "")
    count = environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", "")
    if rank.isdecimal() and count.isdecimal():
        return int(rank), int(count)
    rank = environment.get("SLURM_LOCALID", "")
    node = environment.get("SLURM_NODEID", "0")
    counts = _expand(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if rank.isdecimal() and node.isdecimal() and int(node) < len(counts):
        return int(rank), counts[int(node)]
    return None


def _expand(counts: str) -> list[int]:
    """Expands Slurm's numbers of tasks of each node: ``2(x3),1`` is 2, 2, 2, 1."""
    expanded = []
    for part in filter(None, counts.split(",")):
        match = re.fullmatch(r"([0-9]+)(?:\(x([0-9]+)\))?", part)
        if match is None:
            return []
        expanded += [int(match[1])] * int(match[2] or 1)
    return expanded


def _gpus_on_node(environment: Mapping[str, str]) -> int | None:
    count = environment.get("SLURM_GPUS_ON_NODE", "")
    return int(count) if count.isdecimal() else None


def _visible_gpus(environment: Mapping[str, str]) -> int | None:
    """Returns the number of GPUs in CUDA_VISIBLE_DEVICES; None if it is not set."""
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    # As CUDA does: an invalid entry hides those after it.
    count = 0
    for entry in map(str.strip, text.split(",")):
        if not re.fullmatch(r"[0-9]+|(?:GPU|MIG)-[0-9a-zA-Z/-]+", entry):
            break
        count += 1
    return count


def _gpus_of_process(environment: Mapping[str, str]) -> int | None:
    """Returns the number of GPUs that a job asked for this process; None if unknown."""
    per_task = environment.get("SLURM_GPUS_PER_TASK", "")
    if match := re.search(r"([0-9]+)$", per_task):  # also a100:2
        return int(match[1])
    on_node = _gpus_on_node(environment)
    if on_node is None:
        return _visible_gpus(environment)
    _, tasks = _place_on_node(environment) or (0, 1)
    return on_node // tasks
