"""On which devices a run trains."""

import math
from collections import Counter
from collections.abc import Sequence

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.data import feed, loading, memory
from meranet_jax.errors import UserError

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
    if config.devices is not None and config.devices > len(devices):
        raise UserError(
            f"--devices={config.devices}, but this process has {len(devices)}."
        )
    if config.devices is None:
        devices = devices[: _suitable(config, clips, folds, devices)]
    return devices[: config.devices][: folds if folds > 1 else None]


def _suitable(config, clips, folds: int, devices) -> int:
    """How many of the devices to use where nothing is said."""
    if folds == 1:
        parts = config.batch_size // config.accumulate // jax.process_count()
        return max(n for n in range(1, len(devices) + 1) if n == 1 or parts % n == 0)
    if devices[0].platform != "cpu":
        return len(devices)
    needed = step_bytes(config, clips.clips.shape[1])
    if feed.streams(config, clips, devices[:1]):
        return max(1, int(_SHARE * memory.total_bytes() / needed))
    needed += math.prod(clips.clips.shape)  # which lie on each
    return max(1, int(_SHARE * memory.total_bytes() / needed))


def step_bytes(config: TrainConfig, frames: int) -> float:
    """About what a step needs: measured, five times what its convolutions give."""
    voxels = frames * (config.size / 2) ** 2
    numbers = config.width * voxels  # the stem's
    for stage, blocks in enumerate(config.stage_sizes):
        numbers += 2 * blocks * config.width * 2**stage * voxels / 8**stage
    # And parameters, their gradient and moments: 27 taps between the last channels.
    last = config.width * 2 ** (len(config.stage_sizes) - 1)
    state = 4 * 27 * last**2 * 2 * config.stage_sizes[-1] * 4 / 3
    return 4 * (5 * config.batch_size / config.accumulate * numbers + state)
