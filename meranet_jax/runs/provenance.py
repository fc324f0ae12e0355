"""Code version, packages, devices and optical flow of a start of a program."""

import contextlib
import datetime
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.files import json_round_trip
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.convolution import lowerings
from meranet_jax.models.convolution.threads import default as default_threads
from meranet_jax.recognisers import Network
from meranet_jax.training import distributed, step

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


def start(
    devices: Sequence[jax.Device], config: TrainConfig, threads: int | None = None
) -> dict:
    """Describes the current start of this program, as JSON.

    Args:
      devices: the devices that this process uses.
      config: of the run.
      threads: number of threads of a convolution on a CPU; None for the default.
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
        "convolutions": _convolutions(devices, config, threads),
    }


def _convolutions(
    devices: Sequence[jax.Device], config: TrainConfig, threads: int | None
) -> str | None:
    """Returns how a CPU computes a network's 3-D convolutions.

    The last bits of the results depend on it. Accelerators have one way only.
    """
    if devices[0].platform != "cpu" or not isinstance(config.recogniser, Network):
        return None
    form = step.convolution_form(config)
    if form != "native":
        return form
    number = threads or default_threads()
    return f"{lowerings.describe(form)}, {number} thread{'s' * (number > 1)}"


def describe_flow(config: TrainConfig) -> dict | None:
    """Returns what the optical flow of this program depends on, as JSON.

    Args:
      config: of the run.

    Returns:
      See ``optical_flow.describe``; None if the input does not have optical flow.

    Raises:
      UserError: if the library of the method is not installed.
    """
    if not inputs.find(config.input).flow:
        return None
    return json_round_trip(optical_flow.describe(config.flow_method))


def flow_differences(saved: object, other: object) -> list[str]:
    """Compares what the optical flow of two runs, or of a run and now, depends on.

    Args:
      saved: what ``describe_flow`` returned for a run, read from its folder; None if an
        older version wrote it.
      other: the same for the other run, or for this program.

    Returns:
      A description of each difference; none if ``saved`` or ``other`` is None.
    """
    if saved is None or other is None:
        return []
    one, two = (dict(_flatten("", flow)) for flow in (saved, other))
    return [
        f"{name} {one.get(name)}, not {two.get(name)}"
        for name in {**two, **one}
        if one.get(name) != two.get(name)
    ]


def _flatten(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yields the name and the value of each entry of nested dictionaries."""
    if isinstance(value, dict):
        for inner, part in value.items():
            yield from _flatten(f"{name}.{inner}" if name else inner, part)
    elif isinstance(value, list):
        yield name, " and ".join(map(str, value))
    else:
        yield name, value


def _versions() -> Iterator[tuple[str, str]]:
    """Yields name and version of each package that is installed."""
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)
