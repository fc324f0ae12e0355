"""An annotation file of ELAN (Max Planck Institute for Psycholinguistics).

The format is EAF 3.0: XML with a list of instants in milliseconds, and a tier of
annotations for each face.
"""

import datetime
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from meranet_jax import files
from meranet_jax.prediction import wording
from meranet_jax.prediction.exports.overlaps import milliseconds, without_overlap
from meranet_jax.prediction.results import Event, Prediction

_FORMAT = "3.0"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = "candidates"

_MIME_TYPES = {
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}

# How ELAN describes kinds of dependent tiers, which its files always contain
_CONSTRAINTS = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, no "
    "time gaps allowed within this interval",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation. Annotations "
    "refering to the same parent are ordered",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time "
    "interval, gaps are allowed",
}

# The last part of the machine's text of an annotation
_END = re.compile(r"; apex at \d+\.\d{3} s")

# Characters that XML 1.0 does not allow
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(prediction: Prediction, path: Path) -> None:
    """Writes the candidates as annotations, those of a face in a tier.

    A candidate that overlaps another one of its face is in a second tier of the face,
    since ELAN allows no overlap in a tier.

    Args:
      prediction: what was found.
      path: of the file, ``NAME.eaf``. ELAN looks for the video relative to its folder.

    Raises:
      OSError: if it cannot be written.
    """
    document = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "MERANet in JAX",
            "DATE": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": _FORMAT,
            "VERSION": _FORMAT,
            "xmlns:xsi": _INSTANCE,
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    tiers = _tiers(prediction)
    count = sum(map(len, tiers.values()))
    _add_header(document, prediction, path, count)
    slots = _add_instants(document, tiers)
    annotation = 0
    for tier, events in tiers.items():
        element = _add(document, "TIER", LINGUISTIC_TYPE_REF=_TYPE, TIER_ID=tier)
        for event in events:
            annotation += 1
            onset, offset = slots[event.number]
            alignable = _add(
                _add(element, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{annotation}",
                TIME_SLOT_REF1=onset,
                TIME_SLOT_REF2=offset,
            )
            value = _add(alignable, "ANNOTATION_VALUE")
            value.text = _text(prediction, event)
    _add(
        document,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_TYPE,
        TIME_ALIGNABLE="true",
    )
    for stereotype, description in _CONSTRAINTS.items():
        _add(document, "CONSTRAINT", DESCRIPTION=description, STEREOTYPE=stereotype)
    ElementTree.indent(document, "    ")
    with files.atomic_write(path) as part:
        ElementTree.ElementTree(document).write(part, "UTF-8", xml_declaration=True)


def _tiers(prediction: Prediction) -> dict[str, list[Event]]:
    """Returns the candidates by tier; a face without candidates has an empty one."""
    of_face: dict[int, list[Event]] = {face.identity: [] for face in prediction.faces}
    for event in prediction.events:
        of_face.setdefault(event.face, []).append(event)
    tiers: dict[str, list[Event]] = {}
    for identity, events in of_face.items():
        tiers[f"face {identity}"] = []
        for number, group in enumerate(without_overlap(events), 1):
            name = f"face {identity}"
            tiers[name if number == 1 else f"{name} overlap {number}"] = group
    return tiers


def _add_header(
    document: ElementTree.Element, prediction: Prediction, path: Path, count: int
) -> None:
    header = _add(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if not prediction.source.is_dir():  # ELAN shows no folders of images
        video = Path(os.path.abspath(prediction.source))
        # ELAN writes the whole path here. Users publish the file, and where the path
        # leads to nothing ELAN looks in the folder of the file, and at the relative
        # path (mpi.eudico.client.annotator.linkedmedia). Without escapes, as there.
        _add(
            header,
            "MEDIA_DESCRIPTOR",
            MEDIA_URL=_allowed(f"file:///{wording.file_name(video)}"),
            MIME_TYPE=_MIME_TYPES.get(video.suffix.lower(), "video/*"),
            RELATIVE_MEDIA_URL=_allowed(_relative(video, path)),
        )
    last = _add(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(count)


def _add_instants(
    document: ElementTree.Element, tiers: dict[str, list[Event]]
) -> dict[int, tuple[str, str]]:
    """Adds all onsets and offsets in ascending order.

    Returns:
      The names of the onset and of the offset by the number of the event.
    """
    instants = []
    for events in tiers.values():
        for event in events:
            onset, offset = milliseconds(event)
            # An annotation without a length cannot be selected.
            instants += [
                (onset, event.number, 0),
                (max(offset, onset + 1), event.number, 1),
            ]
    order = _add(document, "TIME_ORDER")
    names: dict[tuple[int, int], str] = {}
    for index, (time, number, end) in enumerate(sorted(instants), 1):
        names[number, end] = f"ts{index}"
        _add(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{index}", TIME_VALUE=str(time))
    return {number: (names[number, 0], names[number, 1]) for number, _ in names}


def label_of(text: str) -> str:
    """Returns the user's label in an annotation; empty if it is all the machine's.

    Args:
      text: of the annotation, in one line. What the user has added to the end of the
        machine's text is a label, too.
    """
    if not text.startswith(f"{wording.MACHINE} ") or not (end := _END.search(text)):
        return text
    added = text[end.end() :]
    return wording.label_of(added) or added.strip(" ;")


def _text(prediction: Prediction, event: Event) -> str:
    """Describes a candidate in a line, the user's label at its end."""
    parts = [
        f"{wording.MACHINE} {event.number}: {wording.what(event)}",
        wording.resemblance(event, prediction.recogniser),
        event.flags and f"also: {', '.join(event.flags)}",
        f"apex at {event.apex.time:.3f} s",
    ]
    text = "; ".join(part for part in parts if part)
    return _allowed(wording.with_label(text, event))


def _allowed(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _relative(video: Path, path: Path) -> str:
    """Returns the path of the video from the folder of the file, as ELAN writes it."""
    try:
        found = os.path.relpath(video, os.path.abspath(path.parent))
    except ValueError:  # on another drive of Windows
        return wording.printable(video.as_uri())
    name = wording.printable(Path(found).as_posix())
    return name if name.startswith("../") else f"./{name}"


def _add(
    parent: ElementTree.Element, tag: str, **attributes: str
) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)
