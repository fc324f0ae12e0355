"""Annotations of ELAN as events."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from meranet_jax.errors import DataError
from meranet_jax.prediction import imported
from meranet_jax.prediction.exports import elan
from meranet_jax.prediction.imported import ImportedEvent

_FACE = re.compile(r"face (\d{1,6})( overlap \d+)?", re.IGNORECASE | re.ASCII)


def read(path: Path, recording: Path) -> list[ImportedEvent]:
    """Reads the annotations of all tiers that are aligned with time.

    Annotations of other annotations (symbolic tiers) are not read. A tier that is
    called ``face 1`` has events of face 1.

    Args:
      path: of the file, ``NAME.eaf``.
      recording: the video; the file must be linked with it, or with none.

    Raises:
      DataError: if the file cannot be used.
      OSError: if it cannot be read.
    """
    root = _parse(path)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(
            f"{path.name} is XML, but not a file of ELAN: it begins with {root.tag}. "
            "Give a file that ELAN has saved, NAME.eaf."
        )
    _check_header(root, path, recording)
    times = {
        slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE")
        for slot in root.iter("TIME_SLOT")
    }
    events = []
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        face = _FACE.fullmatch(name.strip())
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            where = f"{path.name}, tier {name}, {annotation.get('ANNOTATION_ID')}"
            bounds = [
                _seconds(times.get(annotation.get(f"TIME_SLOT_REF{end}")), where)
                for end in (1, 2)
            ]
            text = annotation.findtext("ANNOTATION_VALUE") or name
            event = ImportedEvent(
                bounds[0],
                bounds[1],
                None,
                "seconds",
                int(face[1]) if face else None,
                elan.label_of(" ".join(text.split())),
            )
            events.append(imported.checked(event, where))
    return sorted(events, key=lambda event: (event.onset, event.offset))


def _check_header(root: ElementTree.Element, path: Path, recording: Path) -> None:
    """Raises DataError if the times are not milliseconds of the recording."""
    for header in root.iter("HEADER"):
        unit = header.get("TIME_UNITS", "milliseconds")
        if unit != "milliseconds":
            raise DataError(
                f"{path.name} has times in {unit}. Expected milliseconds: save it with "
                "a newer version of ELAN."
            )
    media = [*root.iter("MEDIA_DESCRIPTOR")]
    names = [imported.base_name(one.get("MEDIA_URL", "")) for one in media]
    ours = [
        one
        for one in media
        if imported.is_recording(one.get("MEDIA_URL", ""), recording)
    ]
    if media and not ours:
        raise DataError(
            f"{path.name} is linked with {', '.join(names)}, not with "
            f"{recording.name}. Give the file of this recording, or link it in ELAN "
            "(Edit, Linked Files)."
        )
    for one in ours:
        if float(one.get("TIME_ORIGIN") or 0):
            raise DataError(
                f"{path.name} plays {recording.name} with an offset (TIME_ORIGIN), so "
                "its times are not those of the video. Remove the offset in ELAN."
            )


def _seconds(milliseconds: str | None, where: str) -> float:
    if milliseconds is None:
        raise DataError(
            f"{where}: its begin or end has no time. Align the annotation in ELAN, or "
            "delete it."
        )
    return imported.number(milliseconds, "time", where, "frames") / 1000


def _parse(path: Path) -> ElementTree.Element:
    """Parses XML that defines no entities and names no other files.

    A few lines can define entities that expand to gigabytes, or contain other files.
    ELAN writes no document type, where they would be defined.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> NoReturn:
        raise DataError(
            f"{path.name} has a document type (DOCTYPE), which files of ELAN do not "
            "have. Open it in ELAN and save it again."
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or not a file of ELAN "
            f"({error}). Open it in ELAN and save it again."
        ) from error
