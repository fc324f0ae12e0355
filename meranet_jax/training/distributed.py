"""Initialisation and synchronisation of several processes that train one run.

Each process trains some of the folds on its own devices, or all of them train a single
fold. The first process prepares the records, creates the run folder and writes the
report. Apart from the steps of a shared fold, all communication is in this module.
"""

import contextlib
import hashlib
import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.training import launchers, signals

# Time limit of a barrier in seconds: a year, since processes may take very long. The
# death of a process ends the barrier earlier.
_BARRIER_SECONDS = 365 * 24 * 3600

# Seconds without a heartbeat after which a process is considered dead.
_HEARTBEAT_SECONDS = 30

# Seconds that stopping processes wait for each other to write their checkpoints.
_SAVE_SECONDS = 600

# Seconds for which the first process outlives the others when all stop in order.
_END_SECONDS = 3

# Whether JAX is distributed; asking JAX itself would initialise its backend.
_initialized = False


def initialize(
    config: TrainConfig, environment: Mapping[str, str] = os.environ
) -> None:
    """Initialises JAX for the processes of this run, if there are several.

    The processes are those given by ``--coordinator``, ``--num_processes`` and
    ``--process_id``. Without these flags JAX detects the processes of a job step of
    Slurm or Open MPI, and with ``--coordinator=auto`` those of any other cluster that
    it supports (Cloud TPU). With ``--fold_shard`` each process works alone.

    Must be called before anything else uses JAX's devices.

    Args:
      config: the run's.
      environment: the environment variables of this process.

    Raises:
      UserError: if the other processes cannot be reached.
    """
    detected = config.coordinator == "auto" or (
        config.fold_shard is None and launchers.is_distributed(environment)
    )
    if config.num_processes is not None:
        given = (config.coordinator, config.num_processes, config.process_id)
    elif detected:
        given = ()
    else:
        return
    global _initialized
    # JAX's own service would replace the handler of SIGTERM in ``signals``.
    jax.config.update("jax_enable_preemption_service", False)
    # For CPU devices; some versions of JAX have no default.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            *given,
            local_device_ids=launchers.local_device_ids(environment),
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"The processes of this run cannot connect to each other: {error}"
        ) from error
    _initialized = True


def process_count() -> int:
    """Returns the number of processes of this run."""
    return jax.process_count()


def process_index() -> int:
    """Returns the index of this process, from 0."""
    return jax.process_index()


def is_first() -> bool:
    """Returns whether this is the first process, which prepares and reports."""
    return process_index() == 0


def barrier(name: str, seconds: int = _BARRIER_SECONDS) -> None:
    """Waits until all processes have reached this barrier.

    Args:
      name: of the barrier, different for each.
      seconds: time limit.
    """
    if process_count() == 1:
        return
    failed = []

    def sync():
        try:
            multihost.sync_global_processes(
                f"meranet_jax {name}",
                timeout=seconds,
                processes=set(range(process_count())),
            )
        except Exception as error:
            failed.append(error)

    # In a thread, since the main thread must handle signals meanwhile.
    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if failed:
        raise failed[0]


def check_equal_on_processes(what: str, values: Mapping[str, object]) -> None:
    """Checks that values are equal in all processes.

    Args:
      what: describes the values, different for each check.
      values: JSON-serialisable values by name. All processes have the same names.

    Raises:
      UserError: if a value differs.
    """
    if process_count() == 1:
        return
    barrier(f"comparison of {what}")
    texts = {name: json.dumps(value) for name, value in values.items()}
    digests = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
        for text in texts.values()
    ]
    gathered = multihost_utils.process_allgather(np.array(digests, np.uint32))
    differing = [
        f"{name} (here {textwrap.shorten(texts[name], 60)})"
        for name, column in zip(texts, gathered.T.tolist(), strict=True)
        if len(set(column)) > 1
    ]
    if differing:
        raise UserError(
            f"The processes of this run differ in {', '.join(differing)}. Start all "
            "of them with the same flags, on machines of the same kind, and give them "
            "access to the same records."
        )


@contextlib.contextmanager
def first_process_first(name: str) -> Iterator[None]:
    """Runs a block in the first process before the others enter it.

    Args:
      name: of the block, different for each.
    """
    if not is_first():
        barrier(name)
    yield
    if is_first():
        barrier(name)


def report(message: str) -> None:
    """Writes a message of this process to the standard error stream."""
    if _initialized:
        message = f"process {process_index()} of {process_count()}: {message}"
    print(message, file=sys.stderr, flush=True)


def fail(message: str, status: int = 1, *, orderly: bool = False) -> NoReturn:
    """Ends this process with a message; the other processes of the run end, too.

    Args:
      message: written to the standard error stream.
      status: exit status.
      orderly: whether all processes are about to end. Each then waits for the others,
        which may be writing checkpoints.
    """
    signals.ignore_first_signal()
    if _initialized:
        message = f"process {process_index()} of {process_count()}: {message}"
    try:
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:  # the reader has gone; Python would exit with another status
        message = None
    if _initialized and orderly:
        with contextlib.suppress(Exception):
            barrier("stopped", _SAVE_SECONDS)
            if is_first():
                # It serves the others, which JAX would abort if it ended before them.
                time.sleep(_END_SECONDS)
    if message is None:
        os._exit(status)
    if _initialized:
        # A normal exit of JAX would wait five minutes for the others, which wait for
        # this process. Once it has ended, JAX ends them.
        os._exit(status)
    sys.exit(status)


def fail_unexpectedly(message: str) -> NoReturn:
    """Ends this process after an error that another process may have caused.

    Args:
      message: written to the standard error stream.
    """
    signals.ignore_first_signal()
    if _initialized:
        print(
            f"process {process_index()} of {process_count()}: {message}\n"
            "If another process has died, "
            f"JAX names it within {_HEARTBEAT_SECONDS} seconds.",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(1.5 * _HEARTBEAT_SECONDS)  # JAX ends this process if another died
    fail(message)
