"""Events of BORIS, from its projects and from the tables that it exports."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from meranet_jax.errors import DataError
from meranet_jax.prediction import imported, wording
from meranet_jax.prediction.exports import boris
from meranet_jax.prediction.imported import ImportedEvent

_Status = Literal["START", "STOP", "POINT"]

_STATUSES: dict[str, _Status] = {"START": "START", "STOP": "STOP", "POINT": "POINT"}

_FACE = re.compile(r"face (\d{1,6})", re.IGNORECASE | re.ASCII)

# Columns of a table with a row for each start, stop and point, and of one with a row
# for each interval. Versions differ in the names of some.
_STATUS = ("Behavior type", "Status")
_MEDIA = ("Media file name", "Media file path")
_NOT_MEDIA = ("", "na", "not found")


@dataclasses.dataclass(frozen=True)
class _Row:
    """A start, a stop or a point.

    Attributes:
      time: in seconds.
      subject, code, modifier, comment: as in BORIS; may be empty, except the code.
      status: which of the three.
    """

    time: float
    subject: str
    code: str
    modifier: str
    comment: str
    status: _Status


@dataclasses.dataclass(frozen=True)
class _State:
    """A start with its stop."""

    start: _Row
    end: float

    @property
    def label(self) -> str:
        """Its code and modifier, unless the machine has written them."""
        return boris.label_of(self.start.code, self.start.modifier, self.start.comment)

    def contains(self, point: _Row) -> bool:
        """Returns whether a point of the same subject is in it."""
        return (
            point.subject == self.start.subject
            and self.start.time <= point.time <= self.end
        )


def read_project(path: Path, recording: Path) -> list[ImportedEvent]:
    """Reads the states of the observation of a recording.

    Points with the code ``apex`` are the apexes of the states around them.

    Args:
      path: of a project, ``NAME.boris``.
      recording: the video or folder; its name tells which observation is read.

    Raises:
      DataError: if the file is no project, has no observation of the recording or
        several, or a state has no start or stop.
      OSError: if it cannot be read.
    """
    try:
        project = json.loads(path.read_bytes())
        observations: dict[str, Any] = project["observations"]
        kinds = {
            str(one["code"]): str(one["type"])
            for one in project["behaviors_conf"].values()
        }
        name = _observation_of(observations, recording, path)
        _check_media(observations[name], recording, path)
        rows = _rows_of_project(observations[name], kinds, f"{path.name}, {name}")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or not a project of BORIS "
            f"({type(error).__name__}: {error}). Open it in BORIS and save it again, "
            "or export its events as CSV."
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged or not a project of BORIS."
        ) from error
    return _events(rows, path)


def is_table(header: Sequence[str]) -> bool:
    """Returns whether these are the columns of a table that BORIS has exported."""
    names = set(header)
    return "Behavior" in names and bool(names & {"Time", "Start (s)"})


def read_table(
    rows: Sequence[tuple[int, Mapping[str, str]]], recording: Path, path: Path
) -> list[ImportedEvent]:
    """Reads the events of a table that BORIS has exported.

    Args:
      rows: number of the line and cells by column.
      recording: the video or folder; of several observations its own is read.
      path: of the table, for messages.

    Raises:
      DataError: if a value is wrong, the table has no events of the recording or those
        of several observations of it, or a state has no start or stop.
    """
    found: list[_Row] = []
    for line, row in _rows_of_recording(rows, recording, path):
        where = f"{path.name}, line {line}"
        status = next((row[name].upper() for name in _STATUS if row.get(name)), "")
        if "Start (s)" in row:
            found += _interval(row, status, where)
        elif known := _STATUSES.get(status):
            found.append(_row(row, "Time", known, "Comment", where))
        else:
            raise DataError(
                f"{where}: {' or '.join(_STATUS)} is {status[:40]!r}. Expected START, "
                "STOP or POINT: export the events from BORIS as tabular events."
            )
    if "Time" in rows[0][1]:
        # Sorting is stable, so a stop stays before a start at the same time.
        found.sort(key=lambda row: row.time)
    return _events(found, path)


def _interval(row: Mapping[str, str], status: str, where: str) -> list[_Row]:
    """Returns the start and the stop in a row, or its point."""
    if status.startswith("POINT"):
        return [_row(row, "Start (s)", "POINT", "Comment start", where)]
    if "Stop (s)" not in row:
        raise DataError(
            f"{where}: there is a column Start (s), but none Stop (s). Export the "
            "events from BORIS again."
        )
    return [
        _row(row, "Start (s)", "START", "Comment start", where),
        _row(row, "Stop (s)", "STOP", "Comment stop", where),
    ]


def _row(
    row: Mapping[str, str], column: str, status: _Status, comment: str, where: str
) -> _Row:
    """Returns the start, stop or point of which a column has the time."""
    modifiers = [
        value for name, value in row.items() if name.startswith("Modifier") and value
    ]
    shift = row.get("Time offset (s)", "")
    return _Row(
        _time(row[column], column, where, shift),
        row.get("Subject", ""),
        row["Behavior"],
        "|".join(modifiers),
        row.get(comment, ""),
        status,
    )


def _observation_of(
    observations: Mapping[str, Any], recording: Path, path: Path
) -> str:
    """Returns the name of the only observation of a recording."""
    media = {
        name: _media(observation, name) for name, observation in observations.items()
    }
    found = [
        name
        for name, names in media.items()
        if any(imported.is_recording(one, recording) for one in names)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{path.name} has {len(found)} observations of {recording.name}: "
            f"{', '.join(found)}. Keep the one that is meant in a copy of the project."
        )
    listed = sorted(
        {imported.base_name(one) for names in media.values() for one in names}
    )
    raise DataError(
        f"{path.name} has no observation of {recording.name}; its media are "
        f"{', '.join(listed) or 'none'}. Observations are found by the name of the "
        "file: give the project of this recording, or its events as CSV."
    )


def _media(observation: Mapping[str, Any], name: str) -> list[str]:
    """Returns the media of an observation; of a live one its own name."""
    if observation["type"] == "LIVE":
        return [name]
    if observation["type"] == "IMAGES":
        return [str(one) for one in observation["directories_list"]]
    return [str(one) for player in observation["file"].values() for one in player]


def _check_media(observation: Mapping[str, Any], recording: Path, path: Path) -> None:
    """Raises DataError if times are not those of the recording."""
    if observation["type"] != "MEDIA":
        return
    for player, media in observation["file"].items():
        if not any(imported.is_recording(str(one), recording) for one in media):
            continue
        if len(media) > 1:
            raise DataError(
                f"{path.name} plays {len(media)} files after one another with "
                f"{recording.name}, and its times are counted over all of them. Export "
                "the events of this file as a CSV with the columns onset and offset."
            )
        if float(observation.get("media_info", {}).get("offset", {}).get(player, 0)):
            raise DataError(
                f"{path.name} plays {recording.name} with an offset to other media, so "
                "its times are not those of the file. Set the offset to 0 in BORIS, or "
                "export the events as a CSV with the columns onset and offset."
            )
    if observation.get("media_creation_date_as_offset"):
        raise DataError(
            f"{path.name} counts times from the date of {recording.name}. Switch this "
            "off in BORIS, or export the events as a CSV with onset and offset."
        )


def _rows_of_project(
    observation: Mapping[str, Any], kinds: Mapping[str, str], where: str
) -> list[_Row]:
    """Returns the events of an observation; BORIS stores no starts and stops."""
    shift = str(observation.get("time offset") or "")
    found = []
    active: set[tuple[str, str, str]] = set()
    for event in sorted(observation["events"], key=lambda event: event[:3]):
        time, subject, code, modifier, comment = event[:5]
        if code not in kinds:
            raise DataError(
                f"{where}: the behavior {code!r} is not in the ethogram. Add it in "
                "BORIS as a state or a point event."
            )
        status: _Status = "POINT"
        key = (subject, code, modifier)
        if kinds[code].startswith("State"):
            status = "STOP" if key in active else "START"
            active ^= {key}
        seconds = _time(str(time), "time", where, shift)
        found.append(_Row(seconds, *key, comment, status))
    return found


def _rows_of_recording(
    rows: Sequence[tuple[int, Mapping[str, str]]], recording: Path, path: Path
) -> list[tuple[int, Mapping[str, str]]]:
    """Returns the rows of the only observation of a recording."""
    media: dict[str, dict[str, None]] = {}  # names in order by observation
    for _, row in rows:
        names = media.setdefault(row.get("Observation id", ""), {})
        for name in _MEDIA:
            if row.get(name, "").lower() not in _NOT_MEDIA:
                names[imported.base_name(row[name])] = None
    for name, names in media.items():
        if not names and name:  # live observations and images
            names[imported.base_name(name)] = None
    if any(media.values()):
        found = [
            name
            for name, names in media.items()
            if any(imported.is_recording(one, recording) for one in names)
        ]
    else:
        found = list(media)
    if not found:
        listed = sorted({one for names in media.values() for one in names})
        raise DataError(
            f"{path.name} has no events of {recording.name}; its media are "
            f"{', '.join(listed)}. Observations are found by the name of the file: "
            "export those of this recording."
        )
    if len(found) > 1:
        raise DataError(
            f"{path.name} has {len(found)} observations of {recording.name}: "
            f"{', '.join(found)}. Export one of them."
        )
    if len(media[found[0]]) > 1:
        raise DataError(
            f"{path.name} has events of several media in one observation: "
            f"{', '.join(media[found[0]])}. Its times are counted over all of them: "
            "give those of one recording as a CSV with the columns onset and offset."
        )
    return [pair for pair in rows if pair[1].get("Observation id", "") == found[0]]


def _events(rows: Iterable[_Row], path: Path) -> list[ImportedEvent]:
    """Pairs starts and stops, and finds the apex of each pair.

    Args:
      rows: starts before their stops.
      path: of the file, for messages.
    """
    states: list[_State] = []
    points: list[_Row] = []
    active: dict[tuple[str, str, str], _Row] = {}
    for row in rows:
        key = (row.subject, row.code, row.modifier)
        if row.status == "POINT":
            points.append(row)
        elif row.status == "START":
            if key in active:
                raise _unpaired(path, active[key])
            active[key] = row
        elif key not in active:
            raise _unpaired(path, row)
        else:
            states.append(_State(active.pop(key), row.time))
    for row in active.values():
        raise _unpaired(path, row)
    apexes = _apexes(states, points, path)
    events = []
    for index, state in enumerate(states):
        face = _FACE.fullmatch(state.start.subject.strip())
        identity = int(face[1]) if face else None
        event = ImportedEvent(
            state.start.time,
            state.end,
            apexes.get(index),
            "seconds",
            identity,
            wording.printable(" ".join(state.label.split())),
        )
        where = f"{path.name}, {state.start.code} at {state.start.time:g} s"
        events.append(imported.checked(event, where))
    return sorted(events, key=lambda event: (event.onset, event.offset))


def _apexes(
    states: Sequence[_State], points: Iterable[_Row], path: Path
) -> dict[int, float]:
    """Returns the apex of each state that has one, by the index of the state."""
    found: dict[int, float] = {}
    for point in points:
        if point.code.strip().lower() != boris.APEX:
            raise DataError(
                f"{path.name}: {point.code!r} at {point.time:g} s is a point event, "
                "which has no duration. Code expressions as state events, and their "
                f"apexes as point events called {boris.APEX}; delete other point "
                "events in a copy of the file."
            )
        around = [i for i, state in enumerate(states) if state.contains(point)]
        if len(around) > 1:  # our own projects number states and apexes alike
            number = f"{point.comment};"
            around = [
                i for i in around if states[i].start.comment.startswith(number)
            ] or around
        if len(around) != 1 or around[0] in found:
            raise DataError(
                f"{path.name}: the {boris.APEX} at {point.time:g} s of subject "
                f"{point.subject!r} is in {len(around)} states of this subject, or "
                "there is another one in the same state. Expected one apex in one "
                "state: correct or delete it."
            )
        found[around[0]] = point.time
    return found


def _unpaired(path: Path, row: _Row) -> DataError:
    missing = "stop" if row.status == "START" else "start"
    return DataError(
        f"{path.name}: {row.code!r} of subject {row.subject!r} at {row.time:g} s has "
        f"no {missing}. Code the {missing} in BORIS, or delete the event."
    )


def _time(text: str, what: str, where: str, shift: str) -> float:
    """Reads a time, without the offset that BORIS adds to it."""
    time = imported.number(text, what, where, "seconds")
    try:
        # Both have three decimal places.
        since_start = round(time - float(shift or 0), 3) if float(shift or 0) else time
    except ValueError:
        raise DataError(
            f"{where}: the time offset is {shift[:40]!r}. Expected seconds."
        ) from None
    if not since_start >= 0:
        raise DataError(
            f"{where}: the {what} {time:g} s is before the time offset of the "
            f"observation, {shift} s, so before the recording. Correct one of them."
        )
    return since_start
