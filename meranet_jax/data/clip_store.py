"""Conversion of records to what an input stores for each clip."""

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from meranet_jax.data.digests import ClipDigest, digest_of
from meranet_jax.data.flow_cache import FlowCache, Turn
from meranet_jax.data.records import report_damage
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs.frames import LUMINANCE
from meranet_jax.inputs.registry import CLIP, Input


class ClipStore:
    """Makes, of records, what an input stores for each clip.

    Attributes:
      dtype: of what is stored.
      computes_flow: whether ``convert`` computes the flow of records that have none.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        opened: Sequence[tuple[Any, Sequence[Mapping[str, Any]]]],
        *,
        size: int,
        network_input: Input,
        flow_method: optical_flow.Method,
    ):
        """Opens the flow of the records if the input needs it.

        Args:
          folders: of the records of each data set.
          opened: what ``open_records`` returned for each.
          size: H and W of the clips.
          network_input: determines what is stored.
          flow_method: how optical flow is estimated.

        Raises:
          UserError: if records do not have a frame that the input needs.
          OSError: if the files of the flow cannot be opened.
        """
        self._folders = folders
        self._rows = [rows for _, rows in opened]
        self._size, self._method = size, flow_method
        self._features = network_input.features
        self._keeps_luminance = network_input.luminance
        # Whether the first frame of the clip replaces the onset frame.
        self.first_as_onset = False
        for folder, (info, _) in zip(folders, opened, strict=True):
            missing = [name for name in self._features if name not in info.features]
            if missing and not network_input.optional_onset:
                raise UserError(
                    f"The records in {folder} have no {missing[0]}, which "
                    f"--input={network_input.name} needs: an earlier version wrote "
                    "them. Delete that folder and prepare them again."
                )
            # If one data set does not have it, for all, so that they are alike.
            self.first_as_onset |= bool(missing)
        self.dtype = network_input.stored_dtype
        self.computes_flow = network_input.flow
        self._turn: Turn | None = None  # outside of ``computing``
        self._progress: _Progress | None = None
        self._caches = []
        if network_input.flow:
            settings = optical_flow.describe(flow_method) | {
                "features": list(self._features),
                "size": size,
            }
            self._caches = [
                FlowCache(
                    folder,
                    settings,
                    number=len(rows),
                    # Without the luminance, so that other inputs have the same flow.
                    shape=(
                        *network_input.stored_shape(
                            info.features["clip"].shape[0], size
                        )[:-1],
                        2,
                    ),
                )
                for folder, (info, rows) in zip(folders, opened, strict=True)
            ]

    @contextlib.contextmanager
    def computing(self, total: int) -> Iterator[Callable]:
        """Lets one process at a time compute flow, and shows a progress bar.

        Both start with the first record whose flow is missing: where none is, the flow
        is read even while another process computes some, and there is no bar.

        Args:
          total: number of records.

        Yields:
          A function that passes items through and counts them.
        """
        self._turn, self._progress = Turn(self._caches), _Progress(total)
        try:
            yield self._progress.track
        finally:
            self._progress.stop()
            self._turn.end()
            self._turn = self._progress = None

    def convert(
        self, source: int, index: int, row: Mapping[str, Any]
    ) -> tuple[np.ndarray, ClipDigest]:
        """Converts a record; computes its flow unless it is known.

        Args:
          source: index of the data set.
          index: of the record.
          row: the record.

        Returns:
          What is stored for the clip, and its digest: of all frames that the input is
          computed from, and of the clip's.
        """
        clip = downsample(row[CLIP], self._size)
        digest = digest_of(clip)
        if self._features == (CLIP,):
            return clip, digest
        frames = self._concatenate(row)
        stored = downsample(frames, self._size)
        digest = dataclasses.replace(digest, clip=digest_of(stored).clip)
        if self._caches:
            flow = self._flow(self._caches[source], index, frames)
            stored = self._with_luminance(flow, stored[1:])
        return stored, digest

    def read(self, source: int, index: int) -> np.ndarray:
        """Reads what is stored for a record that was converted before."""
        if self._caches and not self._keeps_luminance:
            stored = self._caches[source].read(index)
            if stored is not None:
                return stored
        with report_damage(self._folders[source]):
            row = self._rows[source][index]
        return self.convert(source, index, row)[0]

    def read_clip(self, source: int, index: int) -> np.ndarray:
        """Reads the frames of a clip, uint8 [T, H, W, 3]."""
        with report_damage(self._folders[source]):
            clip = self._rows[source][index][CLIP]
        return downsample(clip, self._size)

    def read_reference(self, source: int, index: int) -> np.ndarray:
        """Reads the frame that the flow starts from, uint8 [H, W, 3] as recorded."""
        with report_damage(self._folders[source]):
            return self._rows[source][index][self._features[0]]

    def _concatenate(self, row: Mapping[str, Any]) -> np.ndarray:
        """Returns the frames that the input is computed from, in the recorded size."""
        if self.first_as_onset:
            return np.concatenate([row[CLIP][:1], row[CLIP]])
        return _concatenate(row, self._features)

    def _with_luminance(self, flow: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Returns the flow, followed by the luminance if the input has it."""
        return append_luminance(flow, frames) if self._keeps_luminance else flow

    def _flow(self, cache: FlowCache, index: int, frames: np.ndarray) -> np.ndarray:
        digest = hashlib.blake2b(np.ascontiguousarray(frames), digest_size=16).digest()
        flow = cache.read(index, digest)
        if flow is None and (turn := self._turn) is not None:
            turn.begin()
            flow = cache.read(index, digest)  # another process may have computed it
        if flow is None:
            if (progress := self._progress) is not None:
                progress.show()
            flow = compute_flow(frames, self._size, self._method)
            cache.write(index, digest, flow)
        return flow


def make_stored(
    row: Mapping[str, np.ndarray],
    *,
    size: int,
    network_input: Input,
    flow_method: optical_flow.Method,
) -> np.ndarray:
    """Makes what an input stores for a clip that is not in records.

    Args:
      row: ``clip`` uint8 [T, n * size, n * size, 3], and the other features that the
        input needs, as in records.
      size: H and W of what is stored.
      network_input: determines what is stored.
      flow_method: how optical flow is estimated.

    Returns:
      What ``ClipStore.convert`` returns for a record with these features.
    """
    frames = _concatenate(row, network_input.features)
    return convert_frames(frames, size, network_input, flow_method)


def _concatenate(row: Mapping[str, Any], features: Sequence[str]) -> np.ndarray:
    """Returns the frames of some features, one after another."""
    parts = [row[name] if name == CLIP else row[name][None] for name in features]
    return np.concatenate(parts)


class _Progress:
    """A progress bar for all records, which appears when it is needed."""

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._bar: Progress | None = None
        self._task = None
        self._stopped = False
        self._mutex = threading.Lock()

    def show(self) -> None:
        """Shows the bar, unless it is shown or was stopped; thread-safe."""
        with self._mutex:
            if self._bar is None and not self._stopped:
                self._bar = Progress(console=Console(stderr=True))
                self._task = self._bar.add_task(
                    "Computing optical flow", total=self._total, completed=self._done
                )
                self._bar.start()

    def track(self, items: Iterable) -> Iterator:
        """Yields items, each of which is a record that is finished."""
        for item in items:
            with self._mutex:
                self._done += 1
                if self._bar is not None:
                    self._bar.update(self._task, completed=self._done)
            yield item

    def stop(self) -> None:
        """Ends the bar. ``show`` has no effect afterwards."""
        with self._mutex:
            self._stopped = True
            if self._bar is not None:
                self._bar.stop()


def convert_frames(
    frames: np.ndarray,
    size: int,
    network_input: Input,
    flow_method: optical_flow.Method,
) -> np.ndarray:
    """Makes what an input stores for frames; their flow is computed and not kept.

    Args:
      frames: those that the input is computed from, uint8 [S, H, W, 3] as recorded.
      size: H and W of the result.
      network_input: determines what is stored.
      flow_method: how optical flow is estimated.
    """
    stored = downsample(frames, size)
    if not network_input.flow:
        return stored
    flow = compute_flow(frames, size, flow_method)
    return append_luminance(flow, stored[1:]) if network_input.luminance else flow


def compute_flow(
    frames: np.ndarray, size: int, method: optical_flow.Method
) -> np.ndarray:
    """Computes the flow from the first frame to each other, without that of the head.

    Args:
      frames: uint8 [1 + T, H, W, 3] as recorded.
      size: H and W of the result.
      method: how it is estimated.

    Returns:
      float16 [T, size, size, 2] in pixels of the result.
    """
    flow = optical_flow.estimate(frames[0], frames[1:], method)
    flow = optical_flow.remove_global_motion(flow)
    return shrink(flow, size).astype(np.float16)


def append_luminance(flow: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Appends to flow, [T, H, W, 2], the luminance of frames, uint8 [T, H, W, 3].

    Returns:
      float16 [T, H, W, 3].
    """
    grey = frames @ np.array(LUMINANCE, np.float32)
    return np.concatenate([flow, np.rint(grey)[..., None].astype(np.float16)], -1)


def downsample(clip: np.ndarray, size: int) -> np.ndarray:
    """Averages blocks of pixels: [T, n * size, n * size, 3] -> [T, size, size, 3]."""
    factor = clip.shape[1] // size
    if factor == 1:
        return clip
    # Adds strided slices, since NumPy's mean over two axes is several times slower.
    total = np.zeros(clip[:, ::factor, ::factor].shape, np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += clip[:, row::factor, column::factor]
    return np.rint(total / np.float32(factor**2)).astype(np.uint8)


def shrink(flow: np.ndarray, size: int) -> np.ndarray:
    """Averages blocks of flow, [T, n * size, n * size, 2], in pixels of the result.

    Returns:
      float32 [T, size, size, 2].
    """
    frames, recorded = flow.shape[:2]
    factor = recorded // size
    blocks = flow.reshape(frames, size, factor, size, factor, 2)
    return blocks.mean((2, 4), dtype=np.float32) / np.float32(factor)
