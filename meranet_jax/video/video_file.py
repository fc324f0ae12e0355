"""Frames of a video file: when each is shown, and their pictures.

PyAV is used directly, since imageio's plugin converts all frames, including those that
are not needed, and does not give presentation times.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from meranet_jax.errors import DataError
from meranet_jax.video.images import check_brightness, orient

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")

# Display matrix by the rotation in degrees, counterclockwise
_MATRICES = {
    0: (1, 0, 0, 1),
    90: (0, -1, 1, 0),
    -90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    -180: (-1, 0, 0, -1),
}

# Ten minutes at CASME II's 200 frames a second.
_MAX_FRAMES = 120_000


@dataclasses.dataclass(frozen=True)
class FrameList:
    """The frames of a video, without their pictures.

    Attributes:
      keys: what identifies each frame in the file, by the frame's number from 1: its
        presentation time in units of the file, or its index.
      has_times: whether the keys are times; some files do not give them.
      frame_rate: in Hz; None if the file does not give it.
      evenly_spaced: whether the frames follow each other at one rate. Otherwise they
        are numbered by presentation time, some numbers have no frame, and of two frames
        with the same number the first is used.
      interlaced: whether a frame consists of two fields of different times.
    """

    keys: Mapping[int, int]
    has_times: bool
    frame_rate: float | None
    evenly_spaced: bool
    interlaced: bool


def list_frames(path: Path) -> FrameList:
    """Lists the frames of a video by number.

    A frame that is shown ``t`` seconds after the first has the number ``1 + t *
    frame_rate``, rounded. At a constant frame rate this counts the frames. At a
    variable one it is the number that the frame has after the usual conversion to a
    constant rate, without the frames which that repeats.

    Raises:
      DataError: if the file is not a video or is far too large.
    """
    times: list[int | None] = []
    with _open(path) as (container, stream):
        if stream.width * stream.height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{path.name} cannot be read: its frames have more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels"
            )
        frame = next(container.decode(stream))
        interlaced = bool(frame.interlaced_frame)
    with _open(path) as (container, stream):
        found = -1  # the last packet is not from the file
        for packet in container.demux(stream):  # without decoding them
            found += 1
            # An empty one repeats the frame before it.
            if packet.size and not packet.is_discard:
                times.append(packet.pts)
            if len(times) > _MAX_FRAMES:
                raise DataError(f"{path.name} has more than {_MAX_FRAMES} frames")
        if 0 < stream.frames != found:
            raise DataError(
                f"{path.name} cannot be read: it is damaged. Its header gives "
                f"{stream.frames} frames, but {found} were found, and those after a "
                "missing one would have wrong numbers"
            )
        header_rate = stream.average_rate or stream.guessed_rate
        header_rate = float(header_rate) if header_rate else None
        unit = float(stream.time_base)
    ordered = sorted(time for time in times if time is not None)
    if len(set(ordered)) < len(times):  # times are missing or the same
        keys = {index + 1: index for index in range(_count(path))}
        return FrameList(keys, False, header_rate, True, interlaced)
    if len(ordered) < 2:
        return FrameList(
            dict(enumerate(ordered, 1)), True, header_rate, True, interlaced
        )
    rate, numbers = _number_by_time((np.array(ordered) - ordered[0]) * unit)
    keys = {}
    for number, key in zip(numbers.tolist(), ordered, strict=True):
        keys.setdefault(number, key)
    evenly_spaced = len(keys) == len(ordered) == numbers[-1]
    return FrameList(keys, True, rate, evenly_spaced, interlaced)


def _number_by_time(seconds: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the frame rate, and the number of each frame from 1.

    Args:
      seconds: [N] presentation times from 0, ascending; N >= 2.
    """
    intervals = np.diff(seconds)
    median = np.median(intervals)
    regular = (intervals > median / 2) & (intervals < median * 1.5)
    # The mean, since times are often rounded to milliseconds.
    rate = round(1 / float(intervals[regular].mean()), 3)
    if regular.all():  # no frame is missing, even if the rate drifts
        return rate, np.arange(1, len(seconds) + 1)
    return rate, 1 + np.rint(seconds * rate).astype(np.int64)


def _count(path: Path) -> int:
    """Returns the number of frames, counted if the header does not give it."""
    with _open(path) as (container, stream):
        if stream.frames > 0:
            return min(stream.frames, _MAX_FRAMES)
        counted = itertools.islice(container.decode(stream), _MAX_FRAMES)
        return sum(1 for _ in counted)


def read_frames(
    path: Path, numbers_at: Mapping[int, int], *, has_times: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Reads some frames of a video, in order of time.

    Args:
      path: the video.
      numbers_at: the number of each wanted frame, by its key in ``FrameList.keys``.
      has_times: see ``FrameList``.

    Yields:
      The frame number and the image, uint8 [H, W, 3].

    Raises:
      DataError: if a frame is damaged or missing, or is not opaque.
    """
    missing = dict(numbers_at)
    # Created once, since creating it takes longer than using it.
    reformatter = VideoReformatter()
    for index, (frame, damaged) in enumerate(_decode(path)):
        key = frame.pts if has_times else index
        if key not in missing:
            continue
        if damaged:
            break
        yield missing.pop(key), _picture(path, frame, reformatter)
        if not missing:
            return
    raise DataError(
        f"{path.name} cannot be read: frame {min(missing.values())} is damaged or "
        "missing"
    )


def _decode(path: Path) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yields the frames of a video, and whether each is damaged.

    A frame is computed from those that were decoded before it, back to a key frame. If
    one of these is damaged, so is the frame.
    """
    packets: dict[int | None, int] = {}  # order of decoding, by presentation time
    keys: list[tuple[int, int | None]] = []  # order and time of key frames
    bad: set[int] = set()  # order of damaged packets
    with _open(path) as (container, stream):
        # By default the decoder hides errors behind pixels of other frames.
        stream.codec_context.options = {"err_detect": "explode"}
        for order, packet in enumerate(container.demux(stream)):
            packets[packet.pts] = order
            if packet.is_keyframe:
                keys.append((order, packet.pts))
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                bad.add(order)
                continue
            for frame in frames:
                # Without times, frames are shown in the order of decoding.
                at = packets.get(frame.pts, order)
                if frame.is_corrupt:
                    bad.add(at)
                # A frame shown before a key frame may depend on those before that.
                starts = [
                    start
                    for start, time in keys
                    if start <= at
                    and (time is None or frame.pts is None or time <= frame.pts)
                ]
                start = max(starts, default=0)
                yield frame, any(start <= one <= at for one in bad)


def _picture(
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


@contextlib.contextmanager
def _open(path: Path):
    """Opens the container and its first video stream.

    Any exception of the decoder on a damaged video becomes a DataError.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            # Clips are already read in parallel.
            stream.codec_context.thread_count = 1
            yield container, stream
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or not a video "
            f"({type(error).__name__})"
        ) from error
