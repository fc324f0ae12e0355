"""Words about candidates that all files of a prediction share.

A class is that of clips which a candidate resembles. No sentence is about feelings.
"""

import os
from pathlib import Path

from meranet_jax.prediction.results import Event, Moment, RecogniserDescription

# Kinds and origins of events in words
KINDS = {
    "micro": "lasts at most 0.5 s, as micro-expressions do",
    "macro": "lasts longer than 0.5 s",
}
ORIGINS = {
    "spotted": "found by its motion",
    "imported": "read from a file (--events), not searched for",
}

# First word of what is written where BORIS and ELAN have the user's own words, so that
# it is not taken for a label of the user's when such a file is read
MACHINE = "MERANet"

# Before the user's label of an event, which is the last part of a description
_LABEL = "; label "


def file_name(path: Path) -> str:
    """Returns the last part of a path as text that can be written as UTF-8."""
    return printable(Path(os.path.abspath(path)).name)


def printable(text: str) -> str:
    """Replaces what cannot be written as UTF-8: bytes of a file's name, for example."""
    return text.encode("utf-8", "replace").decode("utf-8")


def what(event: Event) -> str:
    """Returns the name of a kind of event, such as ``imported micro interval``."""
    if event.origin == "imported":
        return f"imported {event.kind} interval"
    return f"{event.kind} candidate"


def with_label(description: str, event: Event) -> str:
    """Adds the user's label of an event to its description, both in one line."""
    label = f"{_LABEL}{event.label}" if event.label else ""
    return " ".join(f"{description}{label}".split())


def label_of(text: str) -> str:
    """Returns the label that ``with_label`` has added; empty if there is none."""
    return text.partition(_LABEL)[2]


def line(
    event: Event, recogniser: RecogniserDescription | None, *, several: bool
) -> str:
    """Describes an event in one line.

    Args:
      event: the event.
      recogniser: which classified it; None if that is not known.
      several: whether the recording may show several faces.
    """
    text = f"{event.number:3d}  {moment(event.onset)} to {moment(event.offset)}"
    if several:
        text += f", face {event.face}"
    label = f"label {event.label}" if event.label else ""
    flags = f"[{', '.join(event.flags)}]" if event.flags else ""
    parts = (text, what(event), label, resemblance(event, recogniser), flags)
    return "  ".join(filter(None, parts))


def resemblance(event: Event, recogniser: RecogniserDescription | None) -> str:
    """Returns a phrase on what an event resembles; empty if it was not classified."""
    if event.reasons:
        return f"no answer: {'; '.join(event.reasons)}"
    found = event.recognition
    if found is None or found.answer is None:
        return ""
    probability = found.probabilities[found.classes.index(found.answer)]
    phrase = f"resembles clips labelled {found.answer}"
    if recogniser is not None and recogniser.trained_on:
        phrase += f" in {listed(recogniser.trained_on)}"
    return f"{phrase} (probability {probability:.2f})"


def listed(names: tuple[str, ...]) -> str:
    """Joins names: ``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def region(name: str) -> str:
    """Returns the name of a region of the face in words."""
    return name.replace("_", " ")


def moment(at: Moment) -> str:
    """Returns an instant in seconds, with its frame."""
    return f"{at.time:.3f} s (frame {at.frame})"
