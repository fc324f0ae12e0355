"""Events that are read from files (``--events``), and checks of their numbers."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from meranet_jax.errors import DataError

# Seconds after the first frame, or numbers of frames
Unit = Literal["seconds", "frames"]

# Bytes that a file of events has at most; an hour of events needs some kilobytes.
LARGEST_FILE = 100_000_000

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_CLOCK = re.compile(r"\d+(:\d+)+([.,]\d+)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class ImportedEvent:
    """An interval that is read from a file.

    Attributes:
      onset, offset: its first and last instant, in ``unit``.
      apex: when it is strongest, in ``unit``; None if the file does not say.
      unit: ``seconds`` after the first frame of the recording, or ``frames``: whole
        numbers of frames, from 1; of a folder, the numbers in the names of the files.
      face: identity of the face; None if the file does not say.
      label: the user's name of the event; may be empty.
      frames: numbers of the frames of ``onset``, ``offset`` and ``apex``, which are in
        seconds, where the file has both; they must agree.
    """

    onset: float
    offset: float
    apex: float | None
    unit: Unit
    face: int | None
    label: str
    frames: Mapping[str, int] = dataclasses.field(default_factory=dict)


def checked(event: ImportedEvent, where: str) -> ImportedEvent:
    """Returns an event whose numbers are possible.

    Args:
      event: its numbers are not negative and finite.
      where: place in the file, for the message.

    Raises:
      DataError: if its offset is before its onset, or its apex outside of both.
    """
    if event.offset < event.onset:
        raise DataError(
            f"{where}: the offset {event.offset:g} is before the onset "
            f"{event.onset:g}. Correct the one that is wrong."
        )
    if event.apex is not None and not event.onset <= event.apex <= event.offset:
        raise DataError(
            f"{where}: the apex {event.apex:g} is not between the onset "
            f"{event.onset:g} and the offset {event.offset:g}. Correct it, or leave it "
            "empty, so that it is estimated."
        )
    return event


def number(text: str, what: str, where: str, unit: Unit) -> float:
    """Reads a time in seconds or the number of a frame.

    Args:
      text: what the file has.
      what: name of the value, for messages.
      where: place in the file, for messages.
      unit: of the value.

    Raises:
      DataError: if it is not a finite number, is negative, or is a frame and not whole.
    """
    text = text.strip()
    expected = (
        "the number of a frame, such as 120"
        if unit == "frames"
        else "a time in seconds, such as 1.25"
    )
    if _DECIMAL_COMMA.fullmatch(text):
        raise DataError(
            f"{where}: the {what} is {text}. A comma may be a decimal or a thousands "
            "separator. Use a point as the decimal separator, and none for thousands."
        )
    if _CLOCK.fullmatch(text):
        raise DataError(
            f"{where}: the {what} is {text}, hours, minutes and seconds. Expected "
            f"{expected}."
        )
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        found = repr(text[:40]) if text else "empty"
        raise DataError(
            f"{where}: the {what} is {found}, which is not a number. Expected "
            f"{expected}."
        )
    value = float(text)
    if value < 0:
        raise DataError(
            f"{where}: the {what} is negative, {text}. Expected {expected}, counted "
            "from the start of the recording."
        )
    if unit == "frames" and not value.is_integer():
        raise DataError(
            f"{where}: the {what} is {text}. Expected {expected}; times in seconds "
            "belong in the columns onset, apex and offset."
        )
    return value


def base_name(path: str) -> str:
    """Returns the last part of a path of this or another system, to compare names."""
    return PurePosixPath(path.replace("\\", "/")).name.casefold()


def is_recording(path: str, recording: Path) -> bool:
    """Returns whether a path in a file has the name of the recording."""
    return base_name(path) == base_name(str(recording.absolute()))
