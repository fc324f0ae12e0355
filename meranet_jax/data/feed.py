"""Transfer of clips to the devices: all of them once, or those of each call.

A compiled program gets clips, and for each step indices into them. Resident clips are
all clips, in the same arrays for every call. Streamed clips are those of one call, read
and sent while earlier calls run.
"""

import collections
import concurrent.futures
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding

from meranet_jax import cores
from meranet_jax.config import TrainConfig
from meranet_jax.data import machine
from meranet_jax.data.clips import Clips

# Fraction of a device's memory that clips may use; the rest is for the network.
_MEMORY_FRACTION = 0.5
# Number of calls whose clips are prefetched.
_PREFETCH = 2

# ``clip`` [.., S, H, W, C], what the input stores, and ``label`` int32 [..], on the
# devices.
DeviceClips = dict[str, jax.Array]


def should_stream(
    config: TrainConfig, clips: Clips, devices: Sequence[jax.Device]
) -> bool:
    """Returns whether to stream clips to the devices, instead of keeping them there."""
    if config.feed != "auto":
        return config.feed == "records"
    if not isinstance(clips.inputs, np.ndarray):
        return True  # they do not fit into the host's memory
    if devices[0].platform == "cpu":  # all devices share the host's memory
        needed = len(devices) * clips.inputs.nbytes
        return needed > _MEMORY_FRACTION * machine.memory_bytes()
    limit = devices[0].memory_stats()["bytes_limit"]
    return clips.inputs.nbytes > _MEMORY_FRACTION * limit


class Resident:
    """Keeps all clips on every device."""

    def __init__(self, clips: Clips, sharding: NamedSharding):
        """Prepares the transfer; clips are sent at the first call of ``place``.

        Args:
          clips: all clips.
          sharding: replicated over the devices.
        """
        self._clips, self._sharding = clips, sharding
        self._placed = None

    def place(
        self, calls: Sequence[np.ndarray]
    ) -> Iterator[tuple[DeviceClips, np.ndarray]]:
        """Yields for each call the clips on the devices, and the indices into them.

        Args:
          calls: for each call the indices [devices, ...] of its clips.
        """
        if self._placed is None:
            clips = {
                "clip": np.asarray(self._clips.inputs),
                "label": self._clips.labels,
            }
            self._placed = jax.device_put(clips, self._sharding)
        for indices in calls:
            yield self._placed, indices


class Streamed:
    """Reads and sends the clips of a call while earlier calls are computed."""

    def __init__(self, clips: Clips, sharding: NamedSharding):
        """Prepares the transfer.

        Args:
          clips: all clips.
          sharding: divided over the devices by the first axis.
        """
        self._clips, self._sharding = clips, sharding

    def place(
        self, calls: Sequence[np.ndarray]
    ) -> Iterator[tuple[DeviceClips, np.ndarray]]:
        """Yields clips and indices for each call, see ``Resident.place``."""
        threads = min(8, cores.count())
        with (
            concurrent.futures.ThreadPoolExecutor(threads) as readers,
            concurrent.futures.ThreadPoolExecutor(1) as sender,
        ):
            pending = collections.deque()
            for indices in calls:
                pending.append((sender.submit(self._send, readers, indices), indices))
                if len(pending) > _PREFETCH:
                    yield self._receive(*pending.popleft())
            while pending:
                yield self._receive(*pending.popleft())

    def _send(self, readers, indices: np.ndarray) -> DeviceClips:
        flat = indices.reshape(len(indices), -1)  # [devices, clips]
        read = list(readers.map(self._clips.inputs.__getitem__, flat.ravel().tolist()))
        clip = np.stack(read).reshape(*flat.shape, *self._clips.inputs.shape[1:])
        placed = {"clip": clip, "label": self._clips.labels[flat]}
        return jax.device_put(placed, self._sharding)

    def _receive(self, sent, indices: np.ndarray) -> tuple[DeviceClips, np.ndarray]:
        local = np.arange(indices[0].size, dtype=np.int32).reshape(indices.shape[1:])
        return sent.result(), np.broadcast_to(local, indices.shape)
