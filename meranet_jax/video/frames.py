"""Reading of numbered frames from a folder of images or from a video.

Frames are identified by their number in the recording, never by the order of their file
names, in which img10 precedes img2.
"""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from meranet_jax.errors import DataError
from meranet_jax.video.images import check_brightness, orient, read_image

_IMAGE = re.compile(
    r"(?P<stem>[^.].*?)(?:\.(?:jpe?g|png|bmp|tiff?|webp))+",  # img2977.jpg.jpg exists
    re.IGNORECASE,
)
_COPY = re.compile(r"\s*\([0-9]+\)$")  # the suffix of a file manager's second copy
VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")

# Largest number of consecutive missing frames that is bridged. A longer gap ends the
# recording.
_MAX_GAP = 2

# Files whose first number is at most this may be numbered from 1, with some files lost
# at the start.
_MAX_FIRST_NUMBER = 5

# Display matrix by the rotation in degrees, counterclockwise
_MATRICES = {
    0: (1, 0, 0, 1),
    90: (0, -1, 1, 0),
    -90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    -180: (-1, 0, 0, -1),
}

# Ten minutes at CASME II's 200 frames a second.
_MAX_VIDEO_FRAMES = 120_000


@dataclasses.dataclass(frozen=True)
class Recording:
    """The frames of a folder or a video, by their number in ascending order.

    Attributes:
      source: the folder or the video file.
      locations: for each frame number the image file, or the index in the video.
      renumbered: whether the source numbers its frames from 1 at the onset, so that the
        numbers here were shifted to those of the annotation table.
    """

    source: Path
    locations: Mapping[int, Path | int]
    renumbered: bool

    @property
    def first(self) -> int:
        """Number of the first frame."""
        return next(iter(self.locations))

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return next(reversed(self.locations))

    def contiguous_run(self, number: int) -> "Recording | None":
        """Returns the run of frames that contains ``number``, None if there is none.

        Gaps of up to two frames are bridged. A longer gap ends the run, since the
        frames after it may belong to another expression.
        """
        runs: list[dict] = []
        previous = None
        for n, location in self.locations.items():
            if previous is None or n - previous > _MAX_GAP + 1:
                runs.append({})
            runs[-1][n] = location
            previous = n
        for run in runs:
            if next(iter(run)) <= number <= next(reversed(run)):
                return dataclasses.replace(self, locations=run)
        return None

    def nearest(self, number: int) -> int:
        """Returns the nearest existing frame number; the lower one if two are."""
        if number in self.locations:
            return number
        return min(self.locations, key=lambda n: (abs(n - number), n))

    def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Reads the frames with these numbers, each once, in ascending order.

        Yields:
          The frame number and the image, uint8 [H, W, 3].

        Raises:
          DataError: if a frame cannot be read.
        """
        wanted = sorted(set(numbers))
        if not self.source.is_dir():
            numbers_at = {self.locations[number]: number for number in wanted}
            yield from _video_frames(self.source, numbers_at)
            return
        for number in wanted:
            yield number, read_image(self.locations[number])


def numbered_frames(folder: Path) -> dict[int, Path]:
    """Returns the image files of a folder by frame number, ascending.

    The frame number is the last integer in the file's stem. If several files have the
    same number, the one with the shortest name is used; the others are copies.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if false_on_os_error(entry.is_file)]
    frames = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        if match := _IMAGE.fullmatch(name):
            integers = re.findall(r"[0-9]+", _COPY.sub("", match["stem"]))
            if integers:
                frames.setdefault(int(integers[-1]), folder / name)
    return dict(sorted(frames.items()))


def open_recording(
    source: Path,
    onset: int,
    offset: int | None,
    *,
    full_recording: bool,
    single_expression: bool = True,
) -> Recording:
    """Lists the frames of a folder or a video with the annotation table's numbers.

    Usually the source contains the full recording, or the frames from onset to offset
    with the recording's numbers; these numbers are kept. Some copies, and videos of a
    single expression, are numbered from 1 at the onset. If such numbers end before the
    offset and span as many frames as the expression, they are shifted to the onset.

    Any other source that starts near 1 and ends before the offset is ambiguous. In a
    release of full recordings it is a truncated recording, whose numbers are right. In
    a release of expressions some frames are missing at an unknown end, and guessing
    would assign frames to the wrong moment.

    Args:
      source: a folder of images or a video file.
      onset: frame number of the onset.
      offset: frame number of the offset, None if the table does not give it.
      full_recording: whether the release contains full recordings, not only the frames
        from onset to offset.
      single_expression: whether the source contains one expression only, so that its
        numbers may be shifted.

    Raises:
      DataError: if there are no frames, the source is not readable, or its numbers are
        ambiguous.
    """
    try:
        if source.is_dir():
            locations = numbered_frames(source)
        else:
            locations = {index + 1: index for index in range(_video_length(source))}
    except PermissionError as error:
        raise DataError(f"{source.name} cannot be read: permission denied") from error
    if not locations:
        raise DataError("its folder contains no frames")
    first, last = next(iter(locations)), next(reversed(locations))
    if offset is None:  # shift only what cannot be the recording's numbers
        renumbered = (
            single_expression and not full_recording and first <= 1 and last < onset
        )
    else:
        same_span = last - first == offset - onset
        renumbered = (
            single_expression and same_span and first <= 1 < onset and last < offset
        )
    if renumbered:  # shifted, not counted again: a missing frame stays missing
        locations = {n - first + onset: location for n, location in locations.items()}
    elif not full_recording and first <= _MAX_FIRST_NUMBER and first < onset:
        if offset is None or last < offset:
            end = "an unknown offset" if offset is None else offset
            raise DataError(
                f"its {len(locations)} files are numbered {first} to {last}, but the "
                f"expression's frames are {onset} to {end}: the files cannot be "
                "matched to frame numbers"
            )
    return Recording(source, locations, renumbered)


def _video_length(path: Path) -> int:
    """Returns the number of frames of a video, counted if its header does not give it.

    Raises:
      DataError: if the file is not a video or is far too large.
    """
    with _open_video(path) as (container, stream):
        if stream.width * stream.height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{path.name} cannot be read: its frames have more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels"
            )
        length = stream.frames
        if length <= 0:
            counted = itertools.islice(container.decode(stream), _MAX_VIDEO_FRAMES + 1)
            length = sum(1 for _ in counted)
        if length > _MAX_VIDEO_FRAMES:
            raise DataError(f"{path.name} has more than {_MAX_VIDEO_FRAMES} frames")
        return length


def _video_frames(
    path: Path, numbers_at: Mapping[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the frame number and the image for each index in ``numbers_at``, in order.

    PyAV is used directly, since imageio's plugin converts all frames, including those
    that are not needed.
    """
    last = max(numbers_at)
    # Created once, since creating it takes longer than using it.
    reformatter = VideoReformatter()
    with _open_video(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            if index in numbers_at:
                image = reformatter.reformat(frame, format="rgb24").to_ndarray()
                if max(part.bits for part in frame.format.components) >= 16:
                    check_brightness(image)
                yield numbers_at[index], orient(image, _display_matrix(frame))
            if index == last:
                return
    raise DataError(f"{path.name} ends before frame {numbers_at[last]}")


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
def _open_video(path: Path):
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


def false_on_os_error(check: Callable[[], bool]) -> bool:
    """Calls ``is_dir`` or ``is_file`` of an entry; False if that raises OSError.

    A symbolic link to itself, for example, is neither a folder nor a file.
    """
    try:
        return check()
    except OSError:
        return False
