"""Columns of tables of events, the same in CSV and BIDS."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from meranet_jax.prediction import wording
from meranet_jax.prediction.exports import cells
from meranet_jax.prediction.results import Event, Moment, Prediction, Recognition


@dataclasses.dataclass(frozen=True)
class Column:
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


def of_events(prediction: Prediction) -> list[Column]:
    """Returns the columns of a table of events, those of classes included."""
    seconds, lengths = "s", "distances between the eyes"
    columns = [
        Column("number", "Number of the event.", lambda event: str(event.number)),
        Column("face", "Number of the face.", lambda event: str(event.face)),
        *[
            Column(
                name,
                f"{name.capitalize()} after the first frame of the recording.",
                _time_at(name),
                seconds,
            )
            for name in ("onset", "apex", "offset")
        ],
        *[
            Column(
                f"{name}_frame",
                f"Number of the frame at the {name}, from 1; of a folder of images "
                "the number in the name of the file.",
                _frame_at(name),
            )
            for name in ("onset", "apex", "offset")
        ],
        Column(
            "duration",
            "From onset to offset.",
            lambda event: cells.text(event.duration, cells.TIME),
            seconds,
        ),
        Column(
            "type", "Length of the event.", lambda event: event.kind, "", wording.KINDS
        ),
        Column(
            "origin",
            "How the event was found.",
            lambda event: event.origin,
            levels=wording.ORIGINS,
        ),
        Column(
            "label",
            "The user's name of the event.",
            lambda event: cells.protected(event.label),
        ),
        Column(
            "regions",
            "Regions of the face that move, strongest first; left and right are those "
            "of the picture.",
            lambda event: cells.joined(event.regions),
        ),
        Column(
            "strength",
            "Largest rise of the motion of a region.",
            lambda event: cells.text(event.strength, cells.LENGTH),
            lengths,
        ),
        Column(
            "noise",
            "Median deviation of the motion of this region in the recording.",
            lambda event: cells.text(event.noise, cells.LENGTH),
            lengths,
        ),
        Column(
            "head_speed",
            "Largest speed of the head.",
            lambda event: cells.text(event.head_speed, cells.LENGTH),
            "distances between the eyes per second",
        ),
        Column(
            "flags",
            "What may explain the motion: a blink, motion of the head, or of the mouth "
            "only.",
            lambda event: cells.joined(event.flags),
        ),
        Column(
            "clip_frames",
            "Number of frames of the clip that was recognised.",
            lambda event: _of(event, lambda found: str(found.frames)),
        ),
        Column(
            "distinct_frames",
            "Number of different frames of the recording among them.",
            lambda event: _of(event, lambda found: str(found.distinct)),
        ),
        Column(
            "answer",
            "Label of the clips that the event resembles most; missing if there is no "
            "answer. It says nothing about feelings.",
            lambda event: _of(event, lambda found: cells.protected(found.answer or "")),
        ),
    ]
    for name in _classes(prediction.events):
        columns.append(
            Column(
                f"p_{name}",
                f"Probability of the class {name}.",
                _probability_of(name),
            )
        )
    return [
        *columns,
        Column(
            "plausible",
            "Classes of the conformal set.",
            lambda event: _of(event, lambda found: cells.joined(found.plausible or ())),
        ),
        Column(
            "reasons",
            "Why there is no answer.",
            lambda event: cells.joined(event.reasons),
        ),
    ]


def description(column: Column) -> dict[str, Any]:
    """Describes a column as BIDS does."""
    described: dict[str, Any] = {"Description": column.description}
    if column.unit:
        described["Units"] = column.unit
    if column.levels:
        described["Levels"] = column.levels
    return described


def _time_at(name: str) -> Callable[[Event], str]:
    return lambda event: cells.text(_moment(event, name).time, cells.TIME)


def _frame_at(name: str) -> Callable[[Event], str]:
    return lambda event: str(_moment(event, name).frame)


def _probability_of(name: str) -> Callable[[Event], str]:
    return lambda event: _of(
        event, lambda found: cells.text(probability(found, name), cells.PROBABILITY)
    )


def _moment(event: Event, name: str) -> Moment:
    return {"onset": event.onset, "apex": event.apex, "offset": event.offset}[name]


def _classes(events: Iterable[Event]) -> tuple[str, ...]:
    """Returns the classes of all recognitions in order."""
    names: dict[str, None] = {}
    for event in events:
        names |= dict.fromkeys(event.recognition.classes if event.recognition else ())
    return tuple(names)


def _of(event: Event, value: Callable[[Recognition], str]) -> str:
    """Returns a value of the recognition, empty if there is none."""
    return value(event.recognition) if event.recognition else ""


def probability(found: Recognition, name: str) -> float | None:
    if name not in found.classes:
        return None
    return found.probabilities[found.classes.index(name)]
