"""Tables of a prediction: CSV, JSON, BIDS and the challenges' CSV.

Numbers have a fixed number of decimal places: times 4 (0.1 ms), lengths on the face 5
(in distances between the eyes), probabilities and confidences 4, pixels 1. A value that
is missing is an empty cell; ``n/a`` in BIDS and null in JSON. CSV files are UTF-8 and
follow RFC 4180; several names in a cell are separated by semicolons.

A spreadsheet program would compute a cell that begins with ``=``, ``+``, ``-`` or
``@``, and a label of the user's or the name of a class may do so. Such text has an
apostrophe in front of it, which spreadsheet programs take as a mark of text. Text that
begins with an apostrophe gets a second one, so that ``events_file`` restores both.
"""

import csv
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax import files
from meranet_jax.prediction import wording
from meranet_jax.prediction.results import (
    Event,
    FoundFace,
    Moment,
    Prediction,
    Recognition,
)

# Version of the contents of ``events.json``
JSON_VERSION = 1

# Decimal places of times in seconds, of lengths in distances between the eyes, of
# probabilities and of pixels
_TIME, _LENGTH, _PROBABILITY, _PIXEL = 4, 5, 4, 1

# First characters of text that a spreadsheet program may take as a formula, and the
# mark that protects it
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_TEXT_MARK = "'"

# Types of the challenges: micro- and macro-expression
_MEGC_TYPES = {"micro": "me", "macro": "mae"}


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of a table of events.

    Attributes:
      name: its header.
      description: for people.
      value: the cell of an event; empty if it is missing.
      unit: of its numbers; empty if it has none.
      levels: meaning of each value, of a column with few values.
    """

    name: str
    description: str
    value: Callable[[Event], str]
    unit: str = ""
    levels: dict[str, str] | None = None


def protected(text: str) -> str:
    """Returns text that a spreadsheet program does not take as a formula."""
    return _TEXT_MARK + text if text.startswith((*_FORMULA, _TEXT_MARK)) else text


def unprotected(text: str) -> str:
    """Returns the text of which ``protected`` made this."""
    rest = text.removeprefix(_TEXT_MARK)
    return rest if rest.startswith((*_FORMULA, _TEXT_MARK)) else text


def write_events_csv(prediction: Prediction, path: Path) -> None:
    """Writes a row for each candidate.

    Args:
      prediction: what was found.
      path: of the file, ``events.csv``.

    Raises:
      OSError: if it cannot be written.
    """
    columns = _event_columns(prediction)
    rows = [[column.value(event) for column in columns] for event in prediction.events]
    _write_csv(path, [[protected(column.name) for column in columns], *rows])


def write_events_json(prediction: Prediction, path: Path) -> None:
    """Writes the candidates, faces and notes as JSON.

    Args:
      prediction: what was found.
      path: of the file, ``events.json``.

    Raises:
      OSError: if it cannot be written.
    """
    recogniser = prediction.recogniser
    value = {
        "version": JSON_VERSION,
        "source": wording.file_name(prediction.source),
        "frames": prediction.frames,
        "analysed_frames": len(prediction.numbers),
        "duration": _rounded(prediction.duration, _TIME),
        "frame_rate": _rounded(prediction.frame_rate, _TIME),
        "recogniser": recogniser
        and {
            **dataclasses.asdict(recogniser),
            "source": wording.printable(str(recogniser.source)),
        },
        "faces": [_face_object(face) for face in prediction.faces],
        "events": [_event_object(event) for event in prediction.events],
        "notes": list(prediction.notes),
    }
    with files.atomic_write(path) as part:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def write_frames_csv(prediction: Prediction, path: Path) -> None:
    """Writes what was measured of each face in each frame that was analysed.

    The first columns are those of OpenFace. A face has a row for each frame from the
    first to the last one in which it was seen, with ``success`` 0 where it was not; a
    frame outside of this for all faces has one row, whose ``face_id`` is 0.

    Args:
      prediction: what was found.
      path: of the file, ``frames.csv``.

    Raises:
      OSError: if it cannot be written.
    """
    regions = tuple(
        dict.fromkeys(
            name for face in prediction.faces for name in face.signals.regions
        )
    )
    box = [f"box_{side}" for side in ("left", "top", "right", "bottom")]
    motion = [f"motion_{name}" for name in regions]
    first = ["frame", "face_id", "timestamp", "confidence", "success"]
    header = [*first, *box, "head_speed", *motion]
    _write_csv(path, [header, *_frame_rows(prediction, regions)])


def write_bids(prediction: Prediction, path: Path) -> None:
    """Writes the events of the Brain Imaging Data Structure, and their description.

    Args:
      prediction: what was found.
      path: of the table, which must end in ``_events.tsv`` as BIDS demands; the
        description of its columns has the same name and ends in ``_events.json``.

    Raises:
      ValueError: if the path ends otherwise. ``events.tsv`` would have the description
        ``events.json``, which is another file of a prediction.
      OSError: if a file cannot be written.
    """
    if not path.name.endswith("_events.tsv"):
        raise ValueError(f"{path.name} does not end in _events.tsv, as BIDS demands")
    columns = [column for column in _event_columns(prediction) if column.name != "type"]
    by_name = {column.name: column for column in columns}
    kind = _Column(
        "trial_type",
        "Length of the event. Most candidates in recordings of people are no "
        "micro-expressions.",
        lambda event: event.kind,
        levels=wording.KINDS,
    )
    ordered = [by_name.pop("onset"), by_name.pop("duration"), kind, *by_name.values()]
    lines = [[column.name for column in ordered]]
    for event in sorted(prediction.events, key=lambda one: one.onset.time):
        lines.append([column.value(event) or "n/a" for column in ordered])
    sidecar = {_one_line(column.name): _description(column) for column in ordered}
    with files.atomic_write(path) as part:
        # BIDS has no quotation marks, so a cell cannot contain a tab or a line break.
        text = "".join("\t".join(map(_one_line, line)) + "\n" for line in lines)
        part.write_text(text, encoding="utf-8", newline="")
    files.write_json(path.with_suffix(".json"), sidecar)


def write_megc(prediction: Prediction, path: Path) -> None:
    """Writes the intervals as the Micro-Expression Grand Challenge asks for them.

    Frame numbers are inclusive; the type is ``me`` of micro- and ``mae`` of
    macro-expressions.

    Args:
      prediction: what was found.
      path: of the file.

    Raises:
      OSError: if it cannot be written.
    """
    source = Path(wording.file_name(prediction.source))
    name = protected(source.name if prediction.source.is_dir() else source.stem)
    rows = [
        [name, str(event.onset.frame), str(event.offset.frame), _MEGC_TYPES[event.kind]]
        for event in prediction.events
    ]
    _write_csv(path, [["vid", "pred_onset", "pred_offset", "type"], *rows])


def _event_columns(prediction: Prediction) -> list[_Column]:
    """Returns the columns of a table of events, those of classes included."""
    seconds, lengths = "s", "distances between the eyes"
    columns = [
        _Column("number", "Number of the event.", lambda event: str(event.number)),
        _Column("face", "Number of the face.", lambda event: str(event.face)),
        *[
            _Column(
                name,
                f"{name.capitalize()} after the first frame of the recording.",
                _time_at(name),
                seconds,
            )
            for name in ("onset", "apex", "offset")
        ],
        *[
            _Column(
                f"{name}_frame",
                f"Number of the frame at the {name}, from 1; of a folder of images "
                "the number in the name of the file.",
                _frame_at(name),
            )
            for name in ("onset", "apex", "offset")
        ],
        _Column(
            "duration",
            "From onset to offset.",
            lambda event: _text(event.duration, _TIME),
            seconds,
        ),
        _Column(
            "type", "Length of the event.", lambda event: event.kind, "", wording.KINDS
        ),
        _Column(
            "origin",
            "How the event was found.",
            lambda event: event.origin,
            levels=wording.ORIGINS,
        ),
        _Column("label", "The user's name of the event.", lambda e: protected(e.label)),
        _Column(
            "regions",
            "Regions of the face that move, strongest first.",
            lambda event: _joined(event.regions),
        ),
        _Column(
            "strength",
            "Largest rise of the motion of a region.",
            lambda event: _text(event.strength, _LENGTH),
            lengths,
        ),
        _Column(
            "noise",
            "Deviation of the motion that this region shows all the time.",
            lambda event: _text(event.noise, _LENGTH),
            lengths,
        ),
        _Column(
            "head_speed",
            "Largest speed of the head.",
            lambda event: _text(event.head_speed, _LENGTH),
            "distances between the eyes per second",
        ),
        _Column(
            "flags",
            "What else happens, which may be the reason for the motion.",
            lambda event: _joined(event.flags),
        ),
        _Column(
            "clip_frames",
            "Number of frames of the clip that was recognised.",
            lambda event: _of(event, lambda found: str(found.frames)),
        ),
        _Column(
            "distinct_frames",
            "Number of different frames of the recording among them.",
            lambda event: _of(event, lambda found: str(found.distinct)),
        ),
        _Column(
            "answer",
            "Label of the clips that the event resembles most; missing if there is no "
            "answer. It says nothing about feelings.",
            lambda event: _of(event, lambda found: protected(found.answer or "")),
        ),
    ]
    for name in _classes(prediction.events):
        columns.append(
            _Column(
                f"p_{name}",
                f"Probability of the class {name}.",
                _probability_of(name),
            )
        )
    return [
        *columns,
        _Column(
            "plausible",
            "Classes of the conformal set.",
            lambda event: _of(event, lambda found: _joined(found.plausible or ())),
        ),
        _Column(
            "reasons",
            "Why there is no answer.",
            lambda event: _joined(event.reasons),
        ),
    ]


def _description(column: _Column) -> dict[str, Any]:
    """Describes a column as BIDS does."""
    described: dict[str, Any] = {"Description": column.description}
    if column.unit:
        described["Units"] = column.unit
    if column.levels:
        described["Levels"] = column.levels
    return described


def _frame_rows(
    prediction: Prediction, regions: Sequence[str]
) -> Iterator[Sequence[str]]:
    """Yields the rows of all frames, those of a frame in the order of the faces."""
    spans = [_span(face) for face in prediction.faces]
    places = [
        [
            face.signals.regions.index(name) if name in face.signals.regions else None
            for name in regions
        ]
        for face in prediction.faces
    ]
    nothing = [""] * (5 + len(regions))
    pairs = zip(prediction.numbers.tolist(), prediction.times.tolist(), strict=True)
    for index, (number, time) in enumerate(pairs):
        start = [str(number), "0", _text(time, _TIME)]
        shown = False
        for face, span, place in zip(prediction.faces, spans, places, strict=True):
            if index not in span:
                continue
            shown, signals = True, face.signals
            at = index - signals.first
            motion = signals.motion[at].tolist()
            yield [
                start[0],
                str(face.identity),
                start[2],
                _text(float(signals.confidence[at]), _PROBABILITY),
                str(int(signals.success[at])),
                *(_text(value, _PIXEL) for value in signals.box[at].tolist()),
                _text(float(signals.head_speed[at]), _LENGTH),
                *(
                    "" if column is None else _text(motion[column], _LENGTH)
                    for column in place
                ),
            ]
        if not shown:
            yield [*start, _text(0.0, _PROBABILITY), "0", *nothing]


def _span(face: FoundFace) -> range:
    """Returns the indices of the frames from the first to the last with the face."""
    signals = face.signals
    return range(signals.first, signals.first + len(signals.success))


def _face_object(face: FoundFace) -> dict[str, Any]:
    return {
        "face": face.identity,
        "first": _moment_object(face.first),
        "last": _moment_object(face.last),
        "eye_distance": _rounded(face.eye_distance, _PIXEL),
        "troubles": list(face.troubles),
        "analysed_frames_with_the_face": int(np.sum(face.signals.success)),
    }


def _event_object(event: Event) -> dict[str, Any]:
    found = event.recognition
    return {
        "number": event.number,
        "face": event.face,
        "onset": _moment_object(event.onset),
        "apex": _moment_object(event.apex),
        "offset": _moment_object(event.offset),
        "duration": _rounded(event.duration, _TIME),
        "type": event.kind,
        "origin": event.origin,
        "label": event.label,
        "regions": list(event.regions),
        "strength": _rounded(event.strength, _LENGTH),
        "noise": _rounded(event.noise, _LENGTH),
        "head_speed": _rounded(event.head_speed, _LENGTH),
        "flags": list(event.flags),
        "recognition": found
        and {
            "answer": found.answer,
            "most_probable": found.most_probable,
            "probabilities": {
                name: _rounded(_probability(found, name), _PROBABILITY)
                for name in found.classes
            },
            "plausible": None if found.plausible is None else list(found.plausible),
            "reasons": list(found.reasons),
            "clip_frames": found.frames,
            "distinct_frames": found.distinct,
        },
    }


def _moment_object(at: Moment) -> dict[str, Any]:
    return {"time": _rounded(at.time, _TIME), "frame": at.frame}


def _time_at(name: str) -> Callable[[Event], str]:
    return lambda event: _text(_moment(event, name).time, _TIME)


def _frame_at(name: str) -> Callable[[Event], str]:
    return lambda event: str(_moment(event, name).frame)


def _probability_of(name: str) -> Callable[[Event], str]:
    return lambda event: _of(
        event, lambda found: _text(_probability(found, name), _PROBABILITY)
    )


def _moment(event: Event, name: str) -> Moment:
    return {"onset": event.onset, "apex": event.apex, "offset": event.offset}[name]


def _classes(events: Iterable[Event]) -> tuple[str, ...]:
    """Returns the classes of all recognitions in order."""
    names: dict[str, None] = {}
    for event in events:
        names |= dict.fromkeys(event.recognition.classes if event.recognition else ())
    return tuple(names)


def _probability(found: Recognition, name: str) -> float | None:
    if name not in found.classes:
        return None
    return found.probabilities[found.classes.index(name)]


def _of(event: Event, value: Callable[[Recognition], str]) -> str:
    """Returns a value of the recognition, empty if there is none."""
    return value(event.recognition) if event.recognition else ""


def _joined(names: Iterable[str]) -> str:
    return protected("; ".join(names))


def _text(value: float | None, digits: int) -> str:
    """Formats a number; an empty text for None and NaN."""
    rounded = _rounded(value, digits)
    return "" if rounded is None else f"{rounded:.{digits}f}"


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounds a number; None for what JSON cannot express. There is no -0.0."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), digits) + 0.0


def _one_line(text: str) -> str:
    """Replaces tabs and line breaks by spaces."""
    return " ".join(text.split())


def _write_csv(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with (
        files.atomic_write(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows(rows)
