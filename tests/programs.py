"""The two programs, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALLEST = ("--preset=small", "--size=16", "--width=4", "--stage_sizes", "1", "1")
_ENVIRONMENT = os.environ | {"COLUMNS": "100", "TERM": "dumb"}


def program(name, *arguments):
    """Runs it to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=_ENVIRONMENT,
    )


def started(name, *arguments):
    """Starts it; its output can be read line by line."""
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_ENVIRONMENT,
    )
