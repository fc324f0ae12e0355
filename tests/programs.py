"""Starting the command-line programs as a user does."""

import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from rich.console import Console

from datasets.prepare import builder, records_of
from meranet_jax.evaluation import figures
from meranet_jax.flags import parse
from meranet_jax.runs import origins
from meranet_jax.runs.train_run import train_run
from tests.datasets.casme2_tree import BRIEF, write_tree
from tests.meranet_jax.running import touch_figure

ROOT = Path(__file__).parents[1]
SMALLEST = ("--preset=small", "--size=16", "--width=4", "--stage_sizes", "1")
_ENVIRONMENT = os.environ | {"COLUMNS": "100", "TERM": "dumb"}


def flags_of_a_copy(folder):
    """Returns flags for a small network and a copy of CASME II, which is generated."""
    write_tree(folder / "copy", rows=BRIEF)
    return [
        "--dataset=casme2",
        f"--manual_dir={folder / 'copy'}",
        f"--data_dir={folder / 'data'}",
        f"--runs_dir={folder / 'runs'}",
        "--devices=1",
        *SMALLEST,
    ]


def program(name, *arguments, **environment):
    """Runs a program to its end.

    Args:
      name: of the script.
      *arguments: of the command line.
      **environment: further environment variables; None unsets a variable.
    """
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=_changed(environment),
    )


def _changed(environment):
    changed = _ENVIRONMENT | environment
    return {name: value for name, value in changed.items() if value is not None}


def train(*flags):
    """Runs train.py in this process, which is faster; returns its output.

    The figures of the report are empty files.

    Raises:
      UserError, DataError: for what the program prints as an error.
    """
    config = parse([*map(str, flags)], check_dataset=builder, find_weights=origins.find)
    console = Console(file=io.StringIO(), soft_wrap=True)
    with mock.patch.object(figures, "save", touch_figure):
        train_run(config, records_of, console)
    return console.file.getvalue()


def started(name, *arguments, **environment):
    """Starts a program, as ``program``, whose output can be read line by line."""
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_changed(environment),
    )


def run_of(flags, name):
    """Returns the folder of a run, given its flags and its name."""
    (folder,) = (f.partition("=")[2] for f in flags if f.startswith("--runs_dir="))
    return Path(folder) / name
