"""Processes that work together: who they are, and waiting for each other.

Each trains some of the folds on its own devices; the first prepares the records, makes
the run folder and writes the report. They talk only here.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import NoReturn

import jax
from orbax.checkpoint import multihost

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError

# A year, in seconds: however long the slowest takes. A process that dies ends the wait.
_PATIENCE = 365 * 24 * 3600

# How launchers tell a process how many of them there are.
_COUNTS = {"Slurm": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}
# Set for what Slurm itself started in parallel, and not for the script of the job.
_SLURM_STEP = "SLURM_STEP_NODELIST"

# Whether there are others; asked of JAX it would start its backend.
_joined = False


def join(config: TrainConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this run, if there are any.

    Those that ``--coordinator``, ``--num_processes`` and ``--process_id`` speak of;
    else those of a job step of Slurm or Open MPI, which JAX finds by itself. With
    ``--fold_shard`` each works by itself. To be called before anything else of JAX.

    Args:
      config: the run's.
      environment: of this process.

    Raises:
      UserError: if they cannot be reached.
    """
    if config.coordinator is not None:
        given = (config.coordinator, config.num_processes, config.process_id)
    elif config.fold_shard is None and _launched_together(environment):
        given = ()
    else:
        return
    global _joined
    # It would take SIGTERM from ``interrupts``.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(*given)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"The processes of this run do not find each other: {error}"
        ) from error
    _joined = True


def _launched_together(environment: Mapping[str, str]) -> bool:
    for launcher, name in _COUNTS.items():
        count = environment.get(name, "1")
        stepped = launcher != "Slurm" or _SLURM_STEP in environment
        if stepped and count.isdecimal() and int(count) > 1:
            return True
    return False


def size() -> int:
    """How many processes work together."""
    return jax.process_count()


def place() -> int:
    """Which of them this is, from 0."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this one prepares and reports."""
    return place() == 0


def wait(what: str) -> None:
    """Wait until all processes have got here; each ``what`` once."""
    if size() > 1:
        multihost.sync_global_processes(
            f"meranet_jax {what}", timeout=_PATIENCE, processes=set(range(size()))
        )


@contextlib.contextmanager
def first_ahead(what: str) -> Iterator[None]:
    """The first process goes through this block before the others enter it."""
    if not is_first():
        wait(what)
    yield
    if is_first():
        wait(what)


def fail(message: str, status: int = 1) -> NoReturn:
    """End this process with a message; those that work with it end too."""
    if _joined:
        message = f"process {place()} of {size()}: {message}"
    print(message, file=sys.stderr, flush=True)
    if _joined:
        # On the usual way out JAX would wait five minutes for the others, which wait
        # for this one. When it is gone they are told so.
        os._exit(status)
    sys.exit(status)
