"""Frames of a video file: when each is shown, and their pictures.

PyAV is used directly, since imageio's plugin converts all frames, including those that
are not needed, and does not give presentation times.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from meranet_jax.errors import DataError
from meranet_jax.video.containers import open_video
from meranet_jax.video.images import check_brightness, is_damaged_jpeg, orient

KeyedBy = Literal["time", "place", "count"]

# Display matrix by the rotation in degrees, counterclockwise
_MATRICES = {
    0: (1, 0, 0, 1),
    90: (0, -1, 1, 0),
    -90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    -180: (-1, 0, 0, -1),
}

# Bytes of an AVI's header, which may contain an index
_LONGEST_HEADER = 1 << 20

# Ten minutes at CASME II's 200 frames a second.
_MAX_FRAMES = 120_000


@dataclasses.dataclass(frozen=True)
class FrameList:
    """The frames of a video, without their pictures.

    Attributes:
      keys: what identifies each frame in the file, by the frame's number from 1.
      keyed_by: what the keys are. ``time``: presentation times, in units of the file.
        ``place``: indices among the frames in the file, of an AVI, which has no such
        times. ``count``: indices among the decoded frames, if times are missing.
      frame_rate: in Hz; None if the file does not give it.
      evenly_spaced: whether frames have consecutive numbers. Otherwise some numbers
        have no frame, and of two frames with the same number the first is used.
      interlaced: whether a frame consists of two fields of different times.
      hidden: number of frames that the file contains, but says not to show.
    """

    keys: Mapping[int, int]
    keyed_by: KeyedBy
    frame_rate: float | None
    evenly_spaced: bool
    interlaced: bool
    hidden: int = 0


def list_frames(path: Path) -> FrameList:
    """Lists the frames of a video by number.

    A frame that is shown ``t`` seconds after the first has the number ``1 + t *
    frame_rate``, rounded. At a constant frame rate this counts the frames. At a
    variable one it is the number that the frame has after the usual conversion to a
    constant rate, without the frames which that repeats.

    Raises:
      DataError: if the file is not a video, is far too large, or has lost frames.
    """
    state = path.stat()
    return _list_frames(path, state.st_mtime_ns, state.st_size)


# A recording may contain many expressions, and to list its frames is to read its file.
@functools.lru_cache(maxsize=8)
def _list_frames(path: Path, modified: int, size: int) -> FrameList:
    times: list[int | None] = []
    hidden = 0
    with open_video(path) as (container, stream):
        if stream.width * stream.height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{path.name} cannot be read: its frames have more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels"
            )
        interlaced = bool(next(container.decode(stream)).interlaced_frame)
    with open_video(path) as (container, stream):
        # An AVI has no presentation times, only a place for each frame, in the order of
        # decoding. Places without a frame repeat the one before.
        keyed_by: KeyedBy = "place" if container.format.name == "avi" else "time"
        for packet in container.demux(stream):  # without decoding them
            if packet.size and not packet.is_discard:
                times.append(packet.pts if keyed_by == "time" else packet.dts)
            hidden += packet.is_discard
            if len(times) > _MAX_FRAMES:
                raise DataError(f"{path.name} has more than {_MAX_FRAMES} frames")
        rate = stream.guessed_rate or stream.average_rate
        header_rate = float(rate) if rate else None
        header_count = stream.frames
        unit = float(stream.time_base)
    ordered = sorted(time for time in times if time is not None)
    if len(set(ordered)) < len(times):  # times are missing or the same
        ordered, keyed_by, unit = list(range(_count(path))), "count", 0.0
    fewer = keyed_by == "place" and header_count > ordered[-1] + 1
    if fewer and _has_gap(path):
        raise DataError(
            f"{path.name} cannot be read: its header gives {header_count} frames, but "
            f"{ordered[-1] + 1} were found, with damage between them: those after it "
            "would have wrong numbers"
        )
    numbers = np.arange(1, len(ordered) + 1)
    frame_rate = header_rate
    if unit and len(ordered) > 1:
        seconds = (np.array(ordered) - ordered[0]) * unit
        frame_rate, numbers = _number_by_time(seconds, header_rate)
    keys: dict[int, int] = {}
    for index, (number, time) in enumerate(zip(numbers.tolist(), ordered, strict=True)):
        keys.setdefault(number, time if keyed_by == "time" else index)
    evenly_spaced = len(keys) == len(ordered) == numbers[-1]
    return FrameList(keys, keyed_by, frame_rate, evenly_spaced, interlaced, hidden)


def _has_gap(path: Path) -> bool:
    """Returns whether there is more than chunks between the frames of an AVI."""
    with path.open("rb") as file, open_video(path) as (container, _):
        place = file.read(_LONGEST_HEADER).find(b"movi")
        if place < 0:
            return True
        place += 4
        for packet in container.demux():
            if packet.pos is None or not packet.size:
                continue
            # The packet follows the header of its chunk.
            while place < packet.pos - 8:
                file.seek(place)
                kind, size = file.read(4), int.from_bytes(file.read(4), "little")
                if kind == b"LIST":
                    place += 12
                elif kind == b"JUNK" or kind[:2] == b"ix" or size == 0:
                    place += 8 + size + size % 2
                else:
                    break
            if place != packet.pos - 8:
                return True
            place = packet.pos + packet.size + packet.size % 2
    return False


def _number_by_time(
    seconds: np.ndarray, header_rate: float | None
) -> tuple[float, np.ndarray]:
    """Returns the frame rate in Hz, and the number of each frame from 1.

    Args:
      seconds: [N] presentation times from 0, ascending; N >= 2.
      header_rate: frame rate that the file gives, which is exact where times are
        rounded.
    """
    intervals = np.diff(seconds)
    # Of a rate that changes, the higher one, so that no two frames have one number: the
    # mean of intervals like a short one and like the median.
    rates = [(len(seconds) - 1) / seconds[-1]]
    for percent, tolerance in ((10, 0.25), (50, 0.5)):
        usual = np.percentile(intervals, percent, method="lower")
        rates.append(1 / intervals[np.abs(intervals / usual - 1) <= tolerance].mean())
    if header_rate is not None and min(abs(header_rate / np.array(rates) - 1)) < 0.01:
        rates.insert(0, header_rate)

    def misfit(rate: float) -> tuple[bool, int, float]:
        """Returns whether numbers are missing, how many are shared, and the error."""
        places = seconds * rate
        numbers = np.rint(places)
        consecutive = (numbers == np.arange(len(seconds))).all()
        shared = len(numbers) - len(np.unique(numbers))
        # Times in milliseconds do not tell a header's 30 Hz from 29.995.
        error = round(float(np.abs(places - numbers).mean()), 2)
        return not consecutive, shared, error

    rate = min(rates, key=misfit)
    return round(float(rate), 3), 1 + np.rint(seconds * rate).astype(np.int64)


def _count(path: Path) -> int:
    """Returns the number of frames, by decoding them."""
    with open_video(path) as (container, stream):
        counted = itertools.islice(container.decode(stream), _MAX_FRAMES)
        return sum(1 for _ in counted)


def read_frames(
    path: Path, numbers_at: Mapping[int, int], *, keyed_by: KeyedBy
) -> Iterator[tuple[int, np.ndarray]]:
    """Reads some frames of a video, in order of time.

    Args:
      path: the video.
      numbers_at: the number of each wanted frame, by its key in ``FrameList.keys``.
      keyed_by: see ``FrameList``.

    Yields:
      The frame number and the image, uint8 [H, W, 3].

    Raises:
      DataError: if a frame is damaged or missing, or is not opaque.
    """
    missing = dict(numbers_at)
    # Created once, since creating it takes longer than using it.
    reformatter = VideoReformatter()
    for key, frame, damaged in decode(path, keyed_by):
        if key not in missing:
            continue
        if damaged:
            break
        yield missing.pop(key), to_image(path, frame, reformatter)
        if not missing:
            return
    raise DataError(
        f"{path.name} cannot be read: frame {min(missing.values())} is damaged or "
        "missing"
    )


def decode(path: Path, keyed_by: KeyedBy) -> Iterator[tuple[int, av.VideoFrame, bool]]:
    """Yields the key of each frame of a video, the frame, and whether it is damaged."""
    damage = _Damage()
    indices: dict[int | None, int] = {}  # of packets in an AVI, by their place
    count = 0
    with open_video(path) as (container, stream):
        # By default the decoder hides errors behind pixels of other frames.
        stream.codec_context.options = {"err_detect": "explode"}
        mjpeg = stream.codec_context.name == "mjpeg"
        for order, packet in enumerate(container.demux(stream)):
            damage.add_packet(order, packet)
            if packet.size:
                indices[packet.dts] = len(indices)
            if mjpeg and packet.size and is_damaged_jpeg(bytes(packet)):
                damage.bad.append(order)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                damage.bad.append(order)
                continue
            reorders = stream.codec_context.has_b_frames
            for frame in frames:
                damaged = damage.affects(frame, order)
                if keyed_by == "time":
                    yield frame.pts, frame, damaged
                elif keyed_by == "place" and not reorders and frame.dts in indices:
                    yield indices[frame.dts], frame, damaged
                else:
                    # Counted, which goes wrong where a frame was lost.
                    yield count, frame, bool(damage.bad)
                count += 1


class _Damage:
    """Which frames of a video are damaged.

    A frame is computed from those that were decoded before it, back to a key frame. If
    one of these is damaged, so is the frame.

    Attributes:
      bad: places of damaged packets in the order of decoding.
    """

    def __init__(self):
        self.bad: list[int] = []
        self._places: dict[int | None, int] = {}  # by presentation time
        self._keys: list[tuple[int, int | None]] = []  # place and time of key frames

    def add_packet(self, order: int, packet: av.Packet) -> None:
        """Adds the packet at a place in the order of decoding."""
        self._places[packet.pts] = order
        if packet.is_keyframe:
            self._keys.append((order, packet.pts))

    def affects(self, frame: av.VideoFrame, order: int) -> bool:
        """Returns whether a frame is damaged.

        Args:
          frame: the frame.
          order: place of the packet that was decoded last.
        """
        place = self._places.get(frame.pts, order)
        if frame.is_corrupt:
            self.bad.append(place)
        if not self.bad:
            return False
        # A frame shown before a key frame may depend on those before that.
        starts = (
            start
            for start, time in reversed(self._keys)
            if start <= place
            and (time is None or frame.pts is None or time <= frame.pts)
        )
        start = next(starts, None)
        return start is None or any(start <= bad <= place for bad in self.bad)


def to_image(
    path: Path, frame: av.VideoFrame, reformatter: VideoReformatter
) -> np.ndarray:
    """Converts a frame to uint8 [H, W, 3].

    Raises:
      DataError: if it is transparent in places, too dark, or turned by another angle
        than a multiple of 90 degrees.
    """
    parts = frame.format.components
    if any(part.is_alpha for part in parts):
        alpha = reformatter.reformat(frame, format="rgba").to_ndarray()[..., 3]
        if alpha.min() < 255:
            raise DataError(
                f"{path.name} cannot be read: it is transparent in places; save it "
                "without transparency"
            )
    image = reformatter.reformat(frame, format="rgb24").to_ndarray()
    if max(part.bits for part in parts) >= 16:
        check_brightness(image)
    return orient(image, _display_matrix(frame))


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Returns how a frame is turned and mirrored when it is shown; see ``orient``.

    Cameras of phones store the frames of their sensor and this matrix.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know a kind of data that its FFmpeg writes
        return _MATRICES.get(getattr(frame, "rotation", 0), (1, 1, 1, 1))
    if data is None:
        return 1, 0, 0, 1
    # Three columns of integers; the third is that of a projection.
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
    return a, b, c, d
