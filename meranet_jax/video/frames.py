"""The frames of a clip by number, from a folder of images or a video.

Frames go by their number in the recording and never by the order of their names,
in which img10 stands before img2.
"""

import contextlib
import dataclasses
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from meranet_jax.errors import DataError

_IMAGE = re.compile(
    r"(?P<stem>[^.].*?)(?:\.(?:jpe?g|png|bmp|tiff?))+",  # img2977.jpg.jpg exists
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\([0-9]+\)$")  # what file managers append to a second copy
VIDEOS = (".avi", ".mp4", ".mov", ".mkv")

# Missing frames that are bridged by their neighbours; more are an end of the recording.
_HOLE = 2

# Files whose numbers begin at this or below may count from 1, some lost at the start.
_FROM_ONE = 5

# Frames of a video: ten minutes at CASME II's 200 a second.
_LONGEST_VIDEO = 120_000

# A picture that would not fit in memory is refused and not only warned of. Here, for
# the whole process, since warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# Clips are read side by side already.
cv2.setNumThreads(1)


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a clip by their number, ascending.

    Attributes:
      source: the folder or the video.
      places: by number the image's file, or the frame's place in the video.
      renumbered: whether the source counts from 1 at the onset, so that the numbers
        here are those of the table and not its own.
    """

    source: Path
    places: Mapping[int, Path | int]
    renumbered: bool

    @property
    def first(self) -> int:
        return next(iter(self.places))

    @property
    def last(self) -> int:
        return next(reversed(self.places))

    def around(self, number: int) -> "Recording | None":
        """The run of frames that ``number`` is in; None if it is in none.

        Up to two missing frames are bridged. A larger hole is an end: what lies beyond
        it may be another expression.
        """
        runs: list[dict] = []
        previous = None
        for n, place in self.places.items():
            if previous is None or n - previous > _HOLE + 1:
                runs.append({})
            runs[-1][n] = place
            previous = n
        for run in runs:
            if next(iter(run)) <= number <= next(reversed(run)):
                return dataclasses.replace(self, places=run)
        return None

    def nearest(self, number: int) -> int:
        """The number of the frame nearest to ``number``, of two the earlier."""
        if number in self.places:
            return number
        return min(self.places, key=lambda n: (abs(n - number), n))

    def frames(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Reads the frames of these numbers, each once, ascending.

        Yields:
          The number and uint8 [H, W, 3].

        Raises:
          DataError: if one cannot be read.
        """
        wanted = sorted(set(numbers))
        if not self.source.is_dir():
            numbers_at = {self.places[number]: number for number in wanted}
            yield from _video_frames(self.source, numbers_at)
            return
        for number in wanted:
            yield number, read_image(self.places[number])


def numbered_frames(folder: Path) -> dict[int, Path]:
    """The image files of ``folder`` by the last integer of their stem, ascending.

    Of files with the same number the one with the shortest name counts; the others
    are copies.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if leads_to(entry.is_file)]
    frames = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        if match := _IMAGE.fullmatch(name):
            integers = re.findall(r"[0-9]+", _COPY.sub("", match["stem"]))
            if integers:
                frames.setdefault(int(integers[-1]), folder / name)
    return dict(sorted(frames.items()))


def recording(
    source: Path, onset: int, offset: int | None, *, whole: bool, alone: bool = True
) -> Recording:
    """The frames of a folder or a video, numbered as the table numbers them.

    A folder holds the full recording, or onset to offset with the recording's numbers;
    then the numbers are kept. Some copies count from 1 at the onset, as does a video of
    the expression alone: where the numbers end before the offset and span just as many
    frames as onset to offset, they are moved there.

    Of anything else that begins at 1 and ends before the offset it cannot be told which
    frame is which. In a release of full recordings it is one that was cut short, and
    its numbers are right. In one of expressions a frame is lost at an end that is
    unknown, and its frames would get another moment's label.

    Args:
      source: the folder or the video.
      onset: number of the expression's first frame.
      offset: number of its last, None if the table gives none.
      whole: whether the release is one of full recordings.
      alone: whether the source holds one expression, so that its numbers may be moved.

    Raises:
      DataError: if there is no frame, the source may not be read or its numbers cannot
        be told.
    """
    try:
        if source.is_dir():
            places = numbered_frames(source)
        else:
            places = {index + 1: index for index in range(_video_length(source))}
    except PermissionError as error:
        raise DataError(f"{source.name} may not be read") from error
    if not places:
        raise DataError("its folder holds no frames")
    first, last = next(iter(places)), next(reversed(places))
    if offset is None:  # then only what cannot be the recording's numbers is moved
        renumbered = alone and not whole and first <= 1 and last < onset
    else:
        spans = last - first == offset - onset
        renumbered = alone and spans and first <= 1 < onset and last < offset
    if renumbered:  # moved and not counted anew: a missing frame stays missing
        places = {number - first + onset: place for number, place in places.items()}
    elif not whole and first <= _FROM_ONE and first < onset:
        if offset is None or last < offset:
            until = "an end that is not given" if offset is None else offset
            raise DataError(
                f"its {len(places)} files are numbered {first} to {last}, the "
                f"expression's frames {onset} to {until}: which is which cannot be told"
            )
    return Recording(source, places, renumbered)


def read_image(path: Path) -> np.ndarray:
    """Reads an image as RGB.

    By Pillow itself, since imageio's plugin takes twice as long for the same bytes.

    Returns:
      uint8 [H, W, 3]

    Raises:
      DataError: if the file is unreadable, truncated or far too large.
    """
    try:
        with Image.open(path) as image:
            # Decoded first, since convert copies also what is RGB already.
            image.load()
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        what = f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise DataError(f"{path.name} cannot be read: {what}") from error
    except PermissionError as error:
        raise DataError(f"{path.name} cannot be read: permission denied") from error
    except Exception as error:  # damaged files make decoders raise anything
        what = f"it is damaged or no image ({type(error).__name__})"
        raise DataError(f"{path.name} cannot be read: {what}") from error


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Averages the areas of uint8 [H, W, 3] down to [size, size, 3].

    Each pixel counts with the share of it that falls on a new one, so that nothing
    aliases and a motion of a pixel keeps its size. An image that is smaller is
    interpolated.
    """
    shrinks = min(image.shape[:2]) >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)


def _video_length(path: Path) -> int:
    """The frames that a video says it has; those of one that doesn't say are counted.

    Raises:
      DataError: if it is no video, or one that is far too large.
    """
    with _opened(path) as (container, stream):
        if stream.width * stream.height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{path.name} cannot be read: its frames have more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels"
            )
        length = stream.frames
        if length <= 0:
            counted = itertools.islice(container.decode(stream), _LONGEST_VIDEO + 1)
            length = sum(1 for _ in counted)
        if length > _LONGEST_VIDEO:
            raise DataError(f"{path.name} has more than {_LONGEST_VIDEO} frames")
        return length


def _video_frames(
    path: Path, numbers_at: Mapping[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames at these places of a video, with their numbers, in order.

    By PyAV itself, since imageio's plugin converts every frame, needed or not.
    """
    last = max(numbers_at)
    reformatter = (
        VideoReformatter()
    )  # once, since to make one costs more than to use it
    with _opened(path) as (container, stream):
        for place, frame in enumerate(container.decode(stream)):
            if place in numbers_at:
                frame = reformatter.reformat(frame, format="rgb24")
                yield numbers_at[place], frame.to_ndarray()
            if place == last:
                return
    raise DataError(f"{path.name} ends before frame {numbers_at[last]}")


@contextlib.contextmanager
def _opened(path: Path):
    """The container and its first video stream.

    What a decoder raises of a damaged video, whatever it is, becomes DataError.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            # Clips are read side by side already.
            stream.codec_context.thread_count = 1
            yield container, stream
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or no video "
            f"({type(error).__name__})"
        ) from error


def leads_to(question: Callable[[], bool]) -> bool:
    """What ``is_dir`` or ``is_file`` of an entry says; a link to itself is neither."""
    try:
        return question()
    except OSError:
        return False
