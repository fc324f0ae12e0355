"""Motion of all faces of a recording, measured while it is read once."""

import array
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from meranet_jax.errors import DataError
from meranet_jax.video import faces, sampling, stream
from meranet_jax.video.facial_motion import Window
from meranet_jax.video.tracks import Track, Tracker

# Frames that are analysed, in Hz: enough for the slowest blink of an expression, and
# what most cameras record.
RATE = 30.0

# Frames from one detection of faces to the next, and seconds, which are reached first
# in recordings of a low frame rate. A face is lost after two seconds.
_DETECTED, _DETECTED_SECONDS = 10, 0.5

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
      all_numbers, all_times: likewise of all frames of the recording.
      damaged: numbers of frames whose pictures are wrong and were not used.
      scale: pixels of the recording in a pixel of the pictures that were measured, to
        which the boxes and landmarks of tracks refer.
      faces: by their identity, from 1.
      damage: what is wrong with the first picture that could not be used, for people;
        empty if the decoder has reported all of ``damaged``.
    """

    numbers: np.ndarray
    times: np.ndarray
    all_numbers: np.ndarray
    all_times: np.ndarray
    damaged: list[int]
    scale: float
    faces: list[FaceMotion]
    damage: str = ""


@dataclasses.dataclass
class _Open:
    """The windows of a face that take further frames.

    Attributes:
      track: the face.
      next_window: index of the frame with which the next window begins.
      windows: those that are not complete.
    """

    track: Track
    next_window: int
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
      DataError: if the recording, or each of its pictures, cannot be read.
    """
    numbers: list[int] = []
    times: list[float] = []
    damaged: list[int] = []
    # Eight bytes for each frame
    all_numbers, all_times = array.array("q"), array.array("d")
    scale = 1.0
    damage: list[DataError] = []

    def good() -> Iterator[stream.Frame]:
        for frame in recording.frames():
            all_numbers.append(frame.number)
            all_times.append(frame.time)
            on_time(frame.time)
            if frame.damaged:
                damaged.append(frame.number)
            else:
                yield frame

    def pictures() -> Iterator[np.ndarray]:
        nonlocal scale
        for frame in sampling.sampled(good(), RATE):
            try:
                picture = frame.read()
            except DataError as error:  # such as a truncated image of a folder
                damaged.append(frame.number)
                damage.append(error)
                continue
            numbers.append(frame.number)
            times.append(frame.time)
            scale = max(max(picture.shape[:2]) / _LONGEST, 1.0)
            yield _reduced(picture, scale)

    tracker = Tracker()
    windows: dict[int, list[Window]] = {}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        _follow(pictures(), times, tracker, windows, pool)
    if damage and not numbers:
        raise damage[0]
    return Measurement(
        np.array(numbers, np.int64),
        np.array(times),
        np.array(all_numbers, np.int64),
        np.array(all_times),
        damaged,
        scale,
        [FaceMotion(t, windows.get(t.identity, [])) for t in tracker.tracks],
        str(damage[0]) if damage else "",
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
    detected = -np.inf

    def detect(sample: int, picture: np.ndarray) -> None:
        nonlocal detected
        detected = times[sample]
        seen = tracker.add(sample, times[sample], faces.detect(picture))
        grey = _grey(picture)
        still = {t.identity: t for t in seen if t.identity in open_faces}
        work = [w for identity in still for w in open_faces[identity].windows]
        # Between two detections of a face, all frames show it.
        list(pool.map(lambda w: _add(w, [*waiting, grey]), work))
        for identity in list(open_faces):
            if identity not in still:
                for window in open_faces.pop(identity).windows:
                    window.finish()
        for track in seen:
            found = open_faces.setdefault(track.identity, _Open(track, sample, []))
            for window in found.windows:
                if len(window.motion) > WINDOW:
                    window.finish()
            found.windows = [w for w in found.windows if len(w.motion) <= WINDOW]
            if sample >= found.next_window:
                window = Window(sample, grey, track.last.face)
                found.next_window = sample + STEP
                found.windows.append(window)
                windows.setdefault(track.identity, []).append(window)
        waiting.clear()

    sample = -1
    for sample, picture in enumerate(pictures):
        late = times[sample] - detected >= _DETECTED_SECONDS
        if late or len(waiting) == _DETECTED - 1:
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


def _reduced(picture: np.ndarray, scale: float) -> np.ndarray:
    """Returns a picture, uint8 [H, W, 3], with its sides divided by ``scale``."""
    height, width = picture.shape[:2]
    if scale == 1:
        return picture
    size = (max(round(width / scale), 1), max(round(height / scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
