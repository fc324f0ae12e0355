"""Containers of videos that are read, recognised by their first bytes.

FFmpeg would also open playlists, scripts and network addresses as a "video", and the
files that these name. The container is recognised here and given to FFmpeg, which then
reads nothing but this file.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import av

from meranet_jax.errors import DataError

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm")

# Kinds of boxes that an MP4 or a QuickTime file may begin with
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")

# Name of FFmpeg's reader of each container, and whether a file begins like one
_CONTAINERS: dict[str, Callable[[bytes], bool]] = {
    "mov": lambda start: start[4:8] in _BOXES,
    "matroska": lambda start: start.startswith(b"\x1a\x45\xdf\xa3"),  # and WebM
    "avi": lambda start: start.startswith(b"RIFF") and start[8:11] == b"AVI",
    "mpegts": lambda start: (
        start[:1] == start[188:189] == start[376:377] == b"G"
        or start[4:5] == start[196:197] == start[388:389] == b"G"  # of a camcorder
    ),
    "mpeg": lambda start: start.startswith(b"\0\0\1\xba"),
    "asf": lambda start: start.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    "flv": lambda start: start.startswith(b"FLV\1"),
}

# Errors of the machine, which say nothing about a video, also where FFmpeg reports them
_OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EMFILE, errno.ENFILE),
}

# Number of bytes that are compared
_START = 400


def container_of(path: Path) -> str:
    """Returns the name of FFmpeg's reader for a video file.

    Raises:
      DataError: if the file is no video in one of the containers that are read.
      OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    for name, begins_like in _CONTAINERS.items():
        if begins_like(start):
            return name
    raise DataError(
        f"{path.name} cannot be read: it is damaged or not a video (it does not begin "
        "like MP4, QuickTime, Matroska, WebM, AVI, MPEG, Windows Media or Flash video)"
    )


@contextlib.contextmanager
def open_video(
    path: Path,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens the container and its first video stream.

    Any exception of the decoder on a damaged video becomes a DataError. Errors of the
    machine stay as they are, since the video may be all right.

    Raises:
      DataError: if the file is no video, has none in it, or is damaged.
      OSError: if the file cannot be read, or a file cannot be written meanwhile.
      MemoryError: if there is not enough memory.
    """
    try:
        # The prefix keeps a name with a colon from being an address.
        name = f"file:{path.absolute()}"
        with av.open(name, format=container_of(path)) as container:
            if not container.streams.video:
                raise DataError(
                    f"{path.name} cannot be read: it has sound, but no pictures"
                    if container.streams.audio
                    else f"{path.name} cannot be read: it has no pictures"
                )
            stream = container.streams.video[0]
            # Several files are read in parallel.
            stream.codec_context.thread_count = 1
            yield container, stream
    except (DataError, PermissionError, MemoryError):
        raise
    except Exception as error:
        of_ffmpeg = isinstance(error, av.error.FFmpegError)
        if isinstance(error, OSError) and (
            not of_ffmpeg or error.errno in _OF_THE_MACHINE
        ):
            raise
        raise DataError(
            f"{path.name} cannot be read: it is damaged or not a video "
            f"({type(error).__name__})"
        ) from error
