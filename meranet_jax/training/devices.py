"""On which devices a run trains."""

import math
from collections import Counter
from collections.abc import Sequence

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.data import feed, loading, machine
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import cost
from meranet_jax.training.step import make_model

# The share of a machine's memory that steps on its cores may fill.
_SHARE = 0.5


def choose(
    config: TrainConfig, clips: loading.Clips, folds: int
) -> Sequence[jax.Device]:
    """Those of this process that a run trains on.

    Args:
      config: the run's.
      clips: all clips.
      folds: of the whole run; a single one is divided over as many of each process.

    Raises:
      UserError: if there are fewer than asked for.
    """
    devices = jax.local_devices()
    if folds == 1:  # as many of each process, if these differ
        devices = devices[
            : min(Counter(d.process_index for d in jax.devices()).values())
        ]
    if config.settings.devices is not None and config.settings.devices > len(devices):
        raise UserError(
            f"--devices={config.settings.devices}, but this process has {len(devices)}."
        )
    if config.settings.devices is None:
        devices = devices[: _suitable(config, clips, folds, devices)]
    return devices[: config.settings.devices][: folds if folds > 1 else None]


def _suitable(config, clips, folds: int, devices) -> int:
    """How many of the devices to use where nothing is said."""
    if folds == 1:
        parts = (
            config.settings.batch_size
            // config.settings.accumulate
            // jax.process_count()
        )
        return max(n for n in range(1, len(devices) + 1) if n == 1 or parts % n == 0)
    if devices[0].platform != "cpu":
        return len(devices)
    needed = step_bytes(config, clips.clips.shape[1])
    if feed.streams(config, clips, devices[:1]):
        return max(1, int(_SHARE * machine.memory_bytes() / needed))
    needed += math.prod(clips.clips.shape)  # which lie on each
    return max(1, int(_SHARE * machine.memory_bytes() / needed))


def step_bytes(config: TrainConfig, frames: int) -> float:
    """Estimates the memory of a training step in bytes.

    Measured, a step needs five times what its convolutions and products write, and
    parameters, their gradient and two moments.

    Args:
      config: the run's.
      frames: of a clip.
    """
    shape = inputs.find(config.input).shape(frames, config.size)
    model = make_model(config, num_classes=3)
    outputs = cost.forward(model, shape).outputs
    clips = config.settings.batch_size / config.settings.accumulate
    state = 4 * cost.parameters(model, shape)
    return 4 * (5 * clips * outputs + state)
