"""The programs, started from a notebook.

Each is a process of its own: the notebook's never holds the accelerator's memory, and a
program ends, or goes on where it stopped, as it does in a terminal.
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

# By it a kernel makes programs believe that they write to a terminal: a bar would be
# drawn over and over.
_TERMINAL = ("FORCE_COLOR", "CLICOLOR_FORCE")


def run(*command: str | Path, may_fail: bool = False) -> None:
    """Run a program and show what it prints, as it comes.

    Args:
      command: what would follow ``python`` in a terminal.
      may_fail: what it prints says enough.

    Raises:
      UserError: if it fails and must not.
    """
    code = _run(command, lambda line: None)
    if code and not may_fail:
        raise _failed(command, code)


def train(folder: Path, *flags: str) -> None:
    """Run ``train.py`` with its curves above, drawn after each epoch.

    Interrupted, it finishes a step and keeps what was done; started again, it goes on.

    Args:
      folder: of the run.
      flags: of ``train.py``, but those that say where its run goes.

    Raises:
      UserError: if it fails.
    """

    def curves():
        return figures.learning_curves(reader.read_lines(folder))

    shown = display.display(curves(), display_id=True)
    place = f"--runs_dir={folder.parent}", f"--name={folder.name}"
    command = ("train.py", *flags, *place)
    code = _run(
        command, lambda line: shown.update(curves()) if "epoch" in line else None
    )
    if code:
        raise _failed(command, code)


def _run(command: tuple[str | Path, ...], then: Callable[[str], object]) -> int:
    """Runs it, prints each line, calls ``then`` with it; its code."""
    environment = {k: v for k, v in os.environ.items() if k not in _TERMINAL}
    with subprocess.Popen(
        [sys.executable, "-u", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        errors="replace",
        # A notebook's interrupt may reach all of its group: twice would end it at once.
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                then(line)
        except BaseException:
            process.send_signal(signal.SIGINT)
            print(process.stdout.read(), end="", flush=True)
            raise
    return process.returncode


def _failed(command: tuple[str | Path, ...], code: int) -> UserError:
    name = " ".join(map(str, command[: 2 if command[0] == "-m" else 1]))
    return UserError(f"{name} failed with {code}: see above.")
