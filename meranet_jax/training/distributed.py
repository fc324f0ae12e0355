"""Processes that work together: who they are, and waiting for each other.

Each trains some of the folds on its own devices, or all of them train the only one; the
first prepares the records, makes the run folder and writes the report. Beside the steps
of a fold that they train together they talk only here.
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
from meranet_jax.training import signals

# A year, in seconds: however long the slowest takes. A process that dies ends the wait.
_PATIENCE = 365 * 24 * 3600

# Seconds after which a process that is not heard of is taken for dead.
_SILENCE = 30

# Seconds that writing a state may take, for which those that leave wait.
_SAVING = 600

# How launchers tell a process how many of them there are.
_COUNTS = {"Slurm": "SLURM_NTASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}
# Set for what Slurm itself started in parallel, and not for the script of the job.
_SLURM_STEP = "SLURM_STEP_NODELIST"

# Whether there are others; asked of JAX it would start its backend.
_joined = False


def join(config: TrainConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this run, if there are any.

    Those that ``--coordinator``, ``--num_processes`` and ``--process_id`` speak of;
    else those of a job step of Slurm or Open MPI, or with ``--coordinator=auto`` of
    anything else that JAX knows (Cloud TPU), which JAX finds by itself. With
    ``--fold_shard`` each works by itself. To be called before anything else of JAX.

    Args:
      config: the run's.
      environment: of this process.

    Raises:
      UserError: if they cannot be reached.
    """
    found_by_jax = config.coordinator == "auto" or (
        config.fold_shard is None and launched_together(environment)
    )
    if config.num_processes is not None:
        given = (config.coordinator, config.num_processes, config.process_id)
    elif found_by_jax:
        given = ()
    else:
        return
    global _joined
    # It would take SIGTERM from ``interrupts``.
    jax.config.update("jax_enable_preemption_service", False)
    # For devices that are cores; by itself JAX has none for them in some versions.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(*given, heartbeat_timeout_seconds=_SILENCE)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"The processes of this run do not find each other: {error}"
        ) from error
    _joined = True


def launched_together(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher has started several of this process."""
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


def wait(what: str, seconds: int = _PATIENCE) -> None:
    """Wait until all processes have got here; each ``what`` once."""
    if size() == 1:
        return
    failed = []

    def sync():
        try:
            multihost.sync_global_processes(
                f"meranet_jax {what}", timeout=seconds, processes=set(range(size()))
            )
        except Exception as error:
            failed.append(error)

    # In a thread, since the main one could not listen to signals meanwhile.
    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if failed:
        raise failed[0]


def check_alike(what: str, facts: Mapping[str, object]) -> None:
    """Raises UserError unless these are the same in all processes; each ``what`` once.

    ``facts``: what JSON can tell, by name; all processes have the same names.
    """
    if size() == 1:
        return
    wait(f"{what} to be compared")
    texts = {name: json.dumps(value) for name, value in facts.items()}
    digests = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
        for text in texts.values()
    ]
    found = multihost_utils.process_allgather(np.array(digests, np.uint32))
    differing = [
        f"{name} (here {textwrap.shorten(texts[name], 60)})"
        for name, of_each in zip(texts, found.T.tolist(), strict=True)
        if len(set(of_each)) > 1
    ]
    if differing:
        raise UserError(
            f"The processes of this run differ in {', '.join(differing)}. Start all "
            "with the same flags, on machines of one kind, and let all see the same "
            "records."
        )


@contextlib.contextmanager
def first_ahead(what: str) -> Iterator[None]:
    """The first process goes through this block before the others enter it."""
    if not is_first():
        wait(what)
    yield
    if is_first():
        wait(what)


def fail(message: str, status: int = 1, *, orderly: bool = False) -> NoReturn:
    """End this process with a message; those that work with it end too.

    ``orderly``: all are about to; each waits a while for the others, which may be
    keeping their states.
    """
    signals.end_only_at_second()
    if _joined:
        message = f"process {place()} of {size()}: {message}"
    try:
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:  # nobody reads any more, and Python would say so with a status
        message = None
    if _joined and orderly:
        with contextlib.suppress(Exception):
            wait("stopped", _SAVING)
    if message is None:
        os._exit(status)
    if _joined:
        # On the usual way out JAX would wait five minutes for the others, which wait
        # for this one. When it is gone they are told so.
        os._exit(status)
    sys.exit(status)


def fail_beside(message: str) -> NoReturn:
    """End this process for a failure of which another one may be the cause."""
    signals.end_only_at_second()
    if _joined:
        print(
            f"process {place()} of {size()}: {message}\nIf another process has died, "
            f"JAX names it within {_SILENCE} seconds.",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(1.5 * _SILENCE)  # it ends this process when it finds out
    fail(message)
