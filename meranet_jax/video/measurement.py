"""Motion of all faces of a recording, measured while it is read once."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from meranet_jax.video import faces, stream
from meranet_jax.video.facial_motion import Window
from meranet_jax.video.tracks import Track, Tracker

# Frames that are analysed, in Hz: enough for the slowest blink of an expression, and
# what most cameras record.
RATE = 30.0

# Frames from one detection of faces to the next.
_DETECTED = 10

# Frames from the first frame of a window to its last, and to the first of the next, so
# that each frame is compared with two others. Multiples of ``_DETECTED``.
WINDOW, STEP = 200, 100

# Longest side of the pictures that wait for the next detection, in pixels. A face that
# fills a tenth of such a frame is still larger than what is measured.
_LONGEST = 1920


@dataclasses.dataclass(frozen=True)
class FaceMotion:
    """What was measured of one face.

    Attributes:
      track: where it was seen.
      windows: its motion, in ascending order of their first frames.
    """

    track: Track
    windows: list[Window]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured in a recording.

    Attributes:
      numbers: numbers of the N frames that were analysed, int [N].
      times: of these frames in seconds, float [N].
      frames: number of all frames of the recording.
      end: time of its last frame in seconds.
      damaged: numbers of frames whose pictures are wrong and were not used.
      faces: by their identity, from 1.
    """

    numbers: np.ndarray
    times: np.ndarray
    frames: int
    end: float
    damaged: list[int]
    faces: list[FaceMotion]


@dataclasses.dataclass
class _Open:
    """The windows of a face that take further frames.

    Attributes:
      track: the face.
      start: index of the frame since which it has been seen without a gap.
      windows: those that are not complete.
    """

    track: Track
    start: int
    windows: list[Window]


def measure(
    recording: stream.Stream,
    *,
    threads: int,
    on_time: Callable[[float], None] = lambda time: None,
) -> Measurement:
    """Measures the motion of all faces of a recording.

    The memory that this needs does not grow with the recording, except by some numbers
    for each frame.

    Args:
      recording: is read once.
      threads: number of windows that are measured at the same time.
      on_time: is called with the time of each frame in seconds, for progress.

    Raises:
      DataError: if the recording cannot be read.
    """
    numbers: list[int] = []
    times: list[float] = []
    damaged: list[int] = []
    count, end = 0, 0.0

    def good() -> Iterator[stream.Frame]:
        nonlocal count, end
        for frame in recording.frames():
            count, end = count + 1, frame.time
            on_time(frame.time)
            if frame.damaged:
                damaged.append(frame.number)
            else:
                yield frame

    def pictures() -> Iterator[np.ndarray]:
        for frame in stream.sampled(good(), RATE):
            numbers.append(frame.number)
            times.append(frame.time)
            yield _reduced(frame.read())

    tracker = Tracker()
    windows: dict[int, list[Window]] = {}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        _follow(pictures(), times, tracker, windows, pool)
    return Measurement(
        np.array(numbers, np.int64),
        np.array(times),
        count,
        end,
        damaged,
        [FaceMotion(t, windows.get(t.identity, [])) for t in tracker.tracks],
    )


def _follow(
    pictures: Iterable[np.ndarray],
    times: list[float],
    tracker: Tracker,
    windows: dict[int, list[Window]],
    pool: concurrent.futures.Executor,
) -> None:
    """Follows faces through pictures, and adds windows to those of each identity."""
    open_faces: dict[int, _Open] = {}
    waiting: list[np.ndarray] = []  # since the last detection
    picture = None

    def detect(sample: int, picture: np.ndarray) -> None:
        seen = tracker.add(sample, times[sample], faces.detect(picture))
        grey = _grey(picture)
        still = {t.identity: t for t in seen if t.identity in open_faces}
        work = [w for identity in still for w in open_faces[identity].windows]
        # Between two detections of a face, all frames show it.
        list(pool.map(lambda w: _add(w, [*waiting, grey]), work))
        for identity in list(open_faces):
            if identity not in still:
                del open_faces[identity]
        for track in seen:
            found = open_faces.setdefault(track.identity, _Open(track, sample, []))
            found.windows = [w for w in found.windows if len(w.motion) <= WINDOW]
            if (sample - found.start) % STEP == 0:
                window = Window(sample, grey, track.last.face)
                found.windows.append(window)
                windows.setdefault(track.identity, []).append(window)
        waiting.clear()

    sample = -1
    for sample, picture in enumerate(pictures):
        if sample % _DETECTED == 0:
            detect(sample, picture)
        else:
            waiting.append(_grey(picture))
    if waiting:  # the last picture ends what has begun
        waiting.pop()
        detect(sample, picture)


def _add(window: Window, pictures: Iterable[np.ndarray]) -> None:
    for grey in pictures:
        window.add(grey)


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _reduced(picture: np.ndarray) -> np.ndarray:
    """Returns a picture whose longest side is at most ``_LONGEST``."""
    height, width = picture.shape[:2]
    scale = _LONGEST / max(height, width)
    if scale >= 1:
        return picture
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
