"""Frames of a recording in the order in which they are shown, one after another.

A recording of any length is read with the memory of a few frames. ``video_file.py``
lists the frames of a video by number instead, for data sets, whose tables name them.
"""

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from meranet_jax.errors import DataError
from meranet_jax.video.containers import open_video
from meranet_jax.video.frames import list_recording
from meranet_jax.video.images import read_image
from meranet_jax.video.video_file import KeyedBy, decode, to_image

# Such as http://host/x.mp4; a path has one slash where an address has two.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


# Highest frame rate of a folder of images, in Hz
_FASTEST = 10_000.0


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a recording.

    Attributes:
      number: from 1, in the order in which frames are shown; of a folder, the number
        in the name of the file.
      time: when it is shown, in seconds after the first.
      damaged: whether its picture is known to be wrong.
      read: returns the picture, uint8 [H, W, 3], turned as it is shown. It can be
        called until the next frame is asked for, and raises DataError if the picture
        cannot be used.
    """

    number: int
    time: float
    damaged: bool
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A recording that is read from its first frame to its last.

    Attributes:
      source: a video, or a folder of images.
      frame_rate: in Hz, as the file or the user gives it; None if neither does.
      duration: in seconds, as the file gives it; None if it does not.
      interlaced: whether a frame consists of two fields of different times.
    """

    source: Path
    frame_rate: float | None
    duration: float | None
    interlaced: bool = False

    def frames(self) -> Iterator[Frame]:
        """Yields all frames in the order in which they are shown.

        Raises:
          DataError: if the recording cannot be read.
        """
        if self.source.is_dir():
            yield from _frames_of_folder(self.source, self.frame_rate)
        else:
            yield from _frames_of_video(self.source)


def open_stream(source: Path, rate: float | None = None) -> Stream:
    """Opens a recording.

    Args:
      source: a video, or a folder of numbered images.
      rate: frame rate of a folder in Hz, which a video has itself.

    Raises:
      DataError: if it is neither, or the frame rate is missing or not needed.
      OSError: if it cannot be read.
    """
    if not source.exists():
        if _ADDRESS.match(str(source)):
            raise DataError(
                f"{source} is a network address, and recordings are read from files "
                "only. Download the video, and name its file."
            )
        raise DataError(
            f"There is no file or folder {source}. Name a video, or a folder with the "
            "frames of one."
        )
    if source.is_dir():
        numbers = _list_folder(source)
        if rate is None:
            raise DataError(
                f"{source} is a folder of images, which do not say when they were "
                "taken. Give their frame rate in Hz, for instance --rate=200."
            )
        if not 0 < rate <= _FASTEST:
            raise DataError(
                f"--rate={rate:g} is no frame rate in Hz, such as 200, of at most "
                f"{_FASTEST:g}."
            )
        first, last = next(iter(numbers)), next(reversed(numbers))
        return Stream(source, rate, (last - first) / rate)
    if rate is not None:
        raise DataError(
            f"--rate={rate:g} is for folders of images. The frames of {source.name} "
            "have times of their own; leave out --rate."
        )
    if not source.is_file():  # a pipe has no end, and cannot be read twice
        raise DataError(
            f"{source} is neither a file nor a folder. Name a video, or a folder with "
            "the frames of one."
        )
    try:
        return _open_video(source)
    except DataError as error:
        raise DataError(
            f"{error}. Name a complete video, and convert other formats to MP4"
            f"{_end_is_missing(source)}."
        ) from error


def _open_video(source: Path) -> Stream:
    with open_video(source) as (container, stream):
        known = stream.guessed_rate or stream.average_rate
        # In microseconds
        duration = container.duration / 1e6 if container.duration else None
        first = next(container.decode(stream), None)
        if first is None:
            raise DataError(f"{source.name} cannot be read: it has no frames")
        return Stream(
            source,
            float(known) if known else None,
            duration,
            bool(first.interlaced_frame),
        )


def _end_is_missing(path: Path) -> str:
    """Says so if an MP4 ends before the list of its frames does."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        place = 0
        while place + 8 <= size:
            file.seek(place)
            length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
            if length == 1:  # a longer number follows
                length = int.from_bytes(file.read(8), "big")
            if (place == 0 and kind != b"ftyp") or length < 8:
                break
            place += length
            if place > size:
                return "; the end of this MP4 is missing: copy it again"
            if kind == b"moov":
                break
    return ""


def _list_folder(folder: Path) -> Mapping[int, Path]:
    """Returns the images of a folder by their numbers."""
    try:
        locations = list_recording(folder).locations
    except DataError as error:
        raise DataError(
            f"{folder} cannot be read: {error}. Frames are images with numbers in "
            "their names, such as img1.jpg."
        ) from error
    return {n: path for n, path in locations.items() if isinstance(path, Path)}


def _frames_of_folder(folder: Path, rate: float) -> Iterator[Frame]:
    locations = _list_folder(folder)
    first = next(iter(locations))
    for number, path in locations.items():

        def read(path: Path = path) -> np.ndarray:
            return read_image(path)

        yield Frame(number, (number - first) / rate, False, read)


def _frames_of_video(path: Path) -> Iterator[Frame]:
    with open_video(path) as (container, stream):
        rate = float(stream.guessed_rate or stream.average_rate or 0)
        unit = float(stream.time_base)
        keyed_by: KeyedBy = "place" if container.format.name == "avi" else "time"
        packet = next(p for p in container.demux(stream) if p.size)
        if keyed_by == "time" and packet.pts is None:
            keyed_by = "count"
    if keyed_by != "time" and not rate:
        raise DataError(
            f"{path.name} cannot be read: neither its frames nor its header say when "
            "they are shown"
        )
    reformatter = VideoReformatter()
    start: int | None = None
    last = -1.0
    numbers = itertools.count(1)
    with contextlib.closing(decode(path, keyed_by)) as frames:
        for key, frame, damaged in frames:
            if key is None:
                raise DataError(
                    f"{path.name} cannot be read: frame {next(numbers)} does not say "
                    "when it is shown"
                )
            # In an AVI, places without a frame repeat the one before.
            at = frame.dts if keyed_by == "place" and frame.dts is not None else key
            start = at if start is None else start
            time = (at - start) * (unit if keyed_by == "time" else 1 / rate)
            if time < last:
                raise DataError(
                    f"{path.name} cannot be read: after {last:.3f} s its times begin "
                    "again, as where parts were joined. Convert it to MP4, which gives "
                    "its frames new times"
                )
            if time == last:  # it is never seen
                continue
            last = time

            def read(frame=frame) -> np.ndarray:
                return to_image(path, frame, reformatter)

            yield Frame(next(numbers), time, damaged, read)
