"""Code version, packages and devices of a start of a program."""

import contextlib
import datetime
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from meranet_jax.training import distributed

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_PACKAGES += ("scipy", "scikit-learn")


def commit() -> str | None:
    """Returns the commit of the code, or None without git.

    " with changes" is appended if the working tree has uncommitted changes.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    quiet = {"text": True, "stderr": subprocess.DEVNULL}
    try:
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], **quiet)
        changed = subprocess.check_output([*git, "status", "--porcelain"], **quiet)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + (" with changes" if changed.strip() else "")


def start(devices: Sequence[jax.Device]) -> dict:
    """Describes the current start of this program, as JSON.

    Args:
      devices: the devices that this process uses.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv],
        "commit": commit(),
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "processes": distributed.process_count(),
        "devices": [str(device) for device in devices],
        "device_kind": devices[0].device_kind,
    }


def _versions() -> Iterator[tuple[str, str]]:
    """Yields name and version of each package that is installed."""
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)
