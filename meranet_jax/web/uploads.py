"""Recordings that a browser sends, written to a file while they are counted."""

import re
import shutil
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from meranet_jax.errors import UserError
from meranet_jax.video import containers

# Suffix of the file of each container; its name is generated.
_SUFFIXES = {
    "mov": ".mp4",
    "matroska": ".webm",
    "avi": ".avi",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "asf": ".wmv",
    "flv": ".flv",
}

# Bytes of a name that is shown; exports add endings, and files have names of 255 bytes
_LONGEST_NAME = 120

# Bytes after which the disk is looked at again
_LOOK = 64 << 20

_UNUSUAL = re.compile(r"[^\w.()+ -]")


class TooLargeError(UserError):
    """A recording that is larger than allowed."""


def shown_name(text: str) -> str:
    """Returns the name of a recording as it is shown, and written into exports.

    It has no separators of folders, and is not the name of the file of the recording.

    Args:
      text: what the browser sends.
    """
    last = unicodedata.normalize("NFC", text.replace("\\", "/")).rsplit("/", 1)[-1]
    name = _UNUSUAL.sub("_", last).strip(" .")
    if len(name.encode()) > _LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        kept = _LONGEST_NAME - len(f".{suffix}".encode())
        if dot and kept > 0:
            name = f"{_shortened(stem, kept)}.{suffix}"
        else:
            name = _shortened(name, _LONGEST_NAME)
    return name or "recording"


def _shortened(text: str, length: int) -> str:
    """Returns the beginning of a text that has at most so many bytes."""
    return text.encode()[:length].decode(errors="ignore")


async def receive(
    chunks: AsyncIterator[bytes],
    folder: Path,
    declared: int | None,
    most: int,
    free: int,
) -> Path:
    """Writes a recording to a file with a generated name.

    Args:
      chunks: the body of the request.
      folder: of the recording.
      declared: size that the request has named in bytes, if any.
      most: size that is allowed.
      free: bytes that the disk must have left.

    Returns:
      The file, whose suffix is that of its container.

    Raises:
      TooLargeError: if it is larger than allowed.
      UserError: if it is empty, or no video in a container that is read, or the disk
        is too small.
      OSError: if it cannot be written.
    """
    too_large = TooLargeError(
        f"The recording is larger than {most / 1e9:.3g} GB. Cut it into parts."
    )
    if declared is not None and declared > most:
        raise too_large
    _check_space(folder, (declared or 0) + free)
    part = folder / "upload.part"
    size = looked = 0
    with part.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise too_large
            if size - looked >= _LOOK:
                looked = size
                _check_space(folder, free)
            file.write(chunk)
    if not size:
        raise UserError("The recording is empty. Choose another file.")
    try:
        container = containers.container_of(part)
    except UserError:
        raise UserError(
            "This is not a video that can be read. Choose an MP4, QuickTime, Matroska, "
            "WebM, AVI, MPEG, Windows Media or Flash video."
        ) from None
    path = folder / f"video{_SUFFIXES[container]}"
    part.rename(path)
    return path


def _check_space(folder: Path, needed: int) -> None:
    if (left := shutil.disk_usage(folder).free) < needed:
        raise UserError(
            f"The disk of the server has {left / 1e9:.1f} GB left, and "
            f"{needed / 1e9:.1f} GB are needed. Delete recordings first."
        )
