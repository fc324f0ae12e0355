"""How clips come to the devices: all at once, or as they are needed.

A program of the devices gets clips and, of each step, indices into these. Resident
clips are all clips, and the same arrays serve every call. Streamed clips are those of
one call, read and sent while the call before it runs.
"""

import collections
import concurrent.futures
import os
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding

from meranet_jax.config import TrainConfig
from meranet_jax.data import machine
from meranet_jax.data.loading import Clips

# The share of a device's memory that clips may fill. The rest is the network's.
_SHARE = 0.5
# Calls whose clips are read ahead.
_AHEAD = 2

# ``clip`` uint8 [.., T, H, W, 3] and ``label`` int32 [..], on the devices.
Placed = dict[str, jax.Array]


def streams(config: TrainConfig, clips: Clips, devices: Sequence[jax.Device]) -> bool:
    """Whether clips are to come to the devices as they are needed."""
    if config.feed != "auto":
        return config.feed == "records"
    if not isinstance(clips.clips, np.ndarray):
        return True  # they did not fit into the host's memory
    if devices[0].platform == "cpu":  # all have the same memory
        return len(devices) * clips.clips.nbytes > _SHARE * machine.memory_bytes()
    return clips.clips.nbytes > _SHARE * devices[0].memory_stats()["bytes_limit"]


class Resident:
    """All clips lie on every device."""

    def __init__(self, clips: Clips, sharding: NamedSharding):
        """``sharding``: over the devices, each with all."""
        self._clips, self._sharding = clips, sharding
        self._placed = None

    def place(self, calls: Sequence[np.ndarray]) -> Iterator[tuple[Placed, np.ndarray]]:
        """The clips of each call, and where in them its indices are.

        Args:
          calls: of each call the indices [devices, ...] of its clips.
        """
        if self._placed is None:
            clips = {"clip": np.asarray(self._clips.clips), "label": self._clips.labels}
            self._placed = jax.device_put(clips, self._sharding)
        for indices in calls:
            yield self._placed, indices


class Streamed:
    """A call's clips are read while those before it are computed."""

    def __init__(self, clips: Clips, sharding: NamedSharding):
        """``sharding``: over the devices, each with its own."""
        self._clips, self._sharding = clips, sharding

    def place(self, calls: Sequence[np.ndarray]) -> Iterator[tuple[Placed, np.ndarray]]:
        """See ``Resident``."""
        threads = min(8, os.cpu_count() or 1)
        with (
            concurrent.futures.ThreadPoolExecutor(threads) as readers,
            concurrent.futures.ThreadPoolExecutor(1) as sender,
        ):
            waiting = collections.deque()
            for indices in calls:
                waiting.append((sender.submit(self._send, readers, indices), indices))
                if len(waiting) > _AHEAD:
                    yield self._arrived(*waiting.popleft())
            while waiting:
                yield self._arrived(*waiting.popleft())

    def _send(self, readers, indices: np.ndarray) -> Placed:
        flat = indices.reshape(len(indices), -1)  # [devices, clips]
        read = list(readers.map(self._clips.clips.__getitem__, flat.ravel().tolist()))
        clip = np.stack(read).reshape(*flat.shape, *self._clips.clips.shape[1:])
        placed = {"clip": clip, "label": self._clips.labels[flat]}
        return jax.device_put(placed, self._sharding)

    def _arrived(self, sent, indices: np.ndarray) -> tuple[Placed, np.ndarray]:
        there = np.arange(indices[0].size, dtype=np.int32).reshape(indices.shape[1:])
        return sent.result(), np.broadcast_to(there, indices.shape)
