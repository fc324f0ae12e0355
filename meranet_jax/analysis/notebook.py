"""Starts the programs from a notebook.

Each program is a separate process, so that the notebook's process does not occupy the
accelerator's memory, and interrupting and resuming work as in a terminal.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from IPython import display

from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.runs import reader

# A kernel sets these variables, which make programs write as to a terminal. The
# progress bar would be printed again and again.
_TERMINAL_VARIABLES = ("FORCE_COLOR", "CLICOLOR_FORCE")


def run(*command: str | Path, may_fail: bool = False) -> None:
    """Runs a program and prints its output.

    Args:
      command: the arguments of ``python``.
      may_fail: ignore the exit status.

    Raises:
      UserError: if the program fails, unless ``may_fail``.
    """
    status = _run(command, lambda line: None)
    if status and not may_fail:
        raise _failure(command, status)


def train(folder: Path, *flags: str) -> None:
    """Runs ``train.py`` and plots the learning curves after each epoch.

    If it is interrupted, it finishes the current step and saves its state. The next
    call resumes it.

    Args:
      folder: the run folder.
      flags: flags of ``train.py`` except for ``--runs_dir`` and ``--name``.

    Raises:
      UserError: if the program fails.
    """

    def curves():
        return figures.learning_curves(reader.read_epoch_metrics(folder))

    plot = display.display(curves(), display_id=True)
    run_flags = f"--runs_dir={folder.parent}", f"--name={folder.name}"
    command = ("train.py", *flags, *run_flags)
    status = _run(
        command, lambda line: plot.update(curves()) if "epoch" in line else None
    )
    if status:
        raise _failure(command, status)


def _run(command: tuple[str | Path, ...], on_line: Callable[[str], object]) -> int:
    """Runs a program, prints each line of its output and calls ``on_line`` with it.

    Returns:
      The exit status.
    """
    environment = {k: v for k, v in os.environ.items() if k not in _TERMINAL_VARIABLES}
    with subprocess.Popen(
        [sys.executable, "-u", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        errors="replace",
        # A notebook's interrupt may reach the complete process group. A second signal
        # would end the program at once.
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                on_line(line)
        except BaseException:
            process.send_signal(signal.SIGINT)
            print(process.stdout.read(), end="", flush=True)
            raise
    return process.returncode


def _failure(command: tuple[str | Path, ...], status: int) -> UserError:
    name = " ".join(map(str, command[: 2 if command[0] == "-m" else 1]))
    return UserError(f"{name} failed with exit status {status}; see its output above.")
