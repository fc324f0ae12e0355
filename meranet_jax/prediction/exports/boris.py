"""A project of BORIS, which shows a recording with its candidates.

BORIS (Friard and Gamba, 2016) stores a project as JSON: an ethogram of behaviours,
subjects, and observations with their events. Here a face is a subject, and a candidate
is a state of it, whose start and stop are two events. Its apex is a point event. What
the candidate resembles is a modifier of the state, so that BORIS can count by class.
Codes begin with the name of this program: they are not the user's.
Written for BORIS 7 to 10, whose project format is 7.0.
"""

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

from meranet_jax import files
from meranet_jax.prediction import wording
from meranet_jax.prediction.exports.overlaps import without_overlap
from meranet_jax.prediction.results import Event, Moment, Prediction

APEX = "apex"

_FORMAT = "7.0"
_STATE, _POINT = "State event", "Point event"
_NO_ANSWER = "no answer"

# Players of a window of BORIS, in each of which media can be
_PLAYERS = 8

# What BORIS does not allow in a modifier
_FORBIDDEN = str.maketrans(dict.fromkeys("(|),`~", " "))


@dataclasses.dataclass(frozen=True)
class _Coded:
    """A candidate with the code of its state."""

    code: str
    event: Event


def write(prediction: Prediction, path: Path) -> None:
    """Writes a project with one observation, named after the recording.

    BORIS looks for the video relative to the folder of the project. A folder of images
    becomes an observation without media, since BORIS has no times for images.

    Args:
      prediction: what was found.
      path: of the file, ``NAME.boris``.

    Raises:
      OSError: if it cannot be written.
    """
    coded = _coded(prediction)
    name = wording.file_name(prediction.source)
    now = datetime.datetime.now().isoformat(timespec="milliseconds")
    project = {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": name,
        "project_description": (
            "Candidates for micro-expressions. Most candidates in recordings of people "
            "are not micro-expressions; a class is that of clips which a candidate "
            "resembles, and says nothing about feelings."
        ),
        "project_format_version": _FORMAT,
        "subjects_conf": {
            str(index): {
                "key": str(face.identity) if face.identity < 10 else "",
                "name": _subject(face.identity),
                "description": "",
            }
            for index, face in enumerate(prediction.faces)
        },
        "behaviors_conf": _ethogram(coded),
        "observations": {name.strip(): _observation(prediction, coded, path, now)},
        "behavioral_categories": [],
        "behavioral_categories_config": {},
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    with files.atomic_write(path) as part:
        # BORIS reads the file in the encoding of the system: ASCII is right in all.
        part.write_text(json.dumps(project, allow_nan=False), encoding="ascii")


def _coded(prediction: Prediction) -> list[_Coded]:
    """Returns the candidates of all faces with codes that do not overlap.

    BORIS pairs starts and stops of the same subject and code, so a candidate that
    begins before another one of its face ends has a code with a number.
    """
    found = []
    groups: dict[tuple[int, str], list[Event]] = {}
    for event in prediction.events:
        code = f"{wording.MACHINE} {wording.what(event)}"
        groups.setdefault((event.face, code), []).append(event)
    for (_, code), events in groups.items():
        for number, group in enumerate(without_overlap(events), 1):
            numbered = code if number == 1 else f"{code} overlap {number}"
            found += [_Coded(numbered, event) for event in group]
    return found


def _ethogram(coded: list[_Coded]) -> dict[str, Any]:
    """Returns the behaviours with their keys and modifiers."""
    recognised: dict[str, bool] = {}
    classes: dict[str, None] = {}
    for one in coded:
        recognition = one.event.recognition
        recognised[one.code] = recognised.get(one.code, False) or bool(recognition)
        classes |= dict.fromkeys(recognition.classes if recognition else ())
    modifiers = {
        "0": {
            "name": "resembles clips labelled",
            "description": "",
            "type": 0,  # one of the values
            "values": [*map(_modifier_text, classes), _NO_ANSWER],
        }
    }
    behaviours = [(code, _STATE, asked) for code, asked in sorted(recognised.items())]
    behaviours.append((APEX, _POINT, False))
    keys = "qwertyuiopsdfghjkl"  # the first ones on a keyboard, without a for the apex
    return {
        str(index): {
            "type": kind,
            "key": "a" if code == APEX else keys[index] if index < len(keys) else "",
            "code": code,
            "description": "",
            "color": "",
            "category": "",
            "modifiers": modifiers if asked else {},
            "excluded": "",
            "coding map": "",
        }
        for index, (code, kind, asked) in enumerate(behaviours)
    }


def _observation(
    prediction: Prediction, coded: list[_Coded], path: Path, now: str
) -> dict[str, Any]:
    is_video = not prediction.source.is_dir()
    recognised = {one.code for one in coded if one.event.recognition}
    events = []
    for one in coded:
        event = one.event
        modifier = _modifier(event) if one.code in recognised else ""
        for at, code, modified, comment in (
            (event.onset, one.code, modifier, _comment(prediction, event)),
            (event.apex, APEX, "", f"candidate {event.number}"),
            (event.offset, one.code, modifier, f"candidate {event.number}"),
        ):
            row: list[Any] = [_time(at), _subject(event.face), code, modified, comment]
            # BORIS counts frames from 0, and only those of videos.
            events.append([*row, at.frame - 1] if is_video else row)
    # As BORIS sorts them. The end of a state stays before the start of the next one.
    events.sort(key=lambda row: row[:3])
    observation: dict[str, Any] = {
        "file": {},
        "type": "MEDIA" if is_video else "LIVE",
        "date": now,
        "description": "",
        "time offset": 0.0,
        "events": events,
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0,
        "image_display_duration": 1,
        "close_behaviors_between_videos": False,
    }
    if not is_video:
        return observation | {
            "scan_sampling_time": 0,
            "start_from_current_time": False,
            "start_from_current_epoch_time": False,
        }
    video = _relative(prediction.source, path)
    players: dict[str, list[str]] = {str(n + 1): [] for n in range(_PLAYERS)}
    players["1"].append(video)
    return observation | {
        "file": players,
        "media_info": {
            "length": {video: round(_length(prediction), 3)},
            "fps": {video: round(_rate(prediction), 3)},
            "hasVideo": {video: True},
            "hasAudio": {video: False},
            "offset": {"1": 0.0},
            "display": {video: "Nothing"},
        },
    }


def _comment(prediction: Prediction, event: Event) -> str:
    """Describes a candidate in one line, the user's label at its end."""
    parts = [
        f"candidate {event.number}",
        f"apex {wording.moment(event.apex)}",
        event.regions and ", ".join(map(wording.region, event.regions)),
        event.flags and f"also: {', '.join(event.flags)}",
        wording.resemblance(event, prediction.recogniser),
    ]
    return wording.with_label("; ".join(part for part in parts if part), event)


def label_of(code: str, modifier: str, comment: str) -> str:
    """Returns the user's label of a state; empty if all of it is the machine's.

    Args:
      code: of the state. One of the machine's is no label of the user's, unless the
        user has chosen another class than the machine as its modifier.
      modifier: of the state; may be empty.
      comment: of its start.
    """
    modifier = "" if modifier == "None" else modifier
    if not code.startswith(f"{wording.MACHINE} "):
        return f"{code} ({modifier})" if modifier else code
    if label := wording.label_of(comment):
        return label
    of_machine = (_NO_ANSWER, *_answers(comment))
    is_chosen = comment.startswith("candidate ") and modifier not in ("", *of_machine)
    return modifier if is_chosen else ""


def _answers(comment: str) -> list[str]:
    """Returns what may be the class in a comment, whose names may have spaces."""
    _, _, rest = comment.partition("; resembles clips labelled ")
    words = _modifier_text(rest).split()
    return [" ".join(words[:count]) for count in range(1, len(words) + 1)]


def _modifier(event: Event) -> str:
    """Returns the value of the modifier of a state that has one."""
    found = event.recognition
    answer = found.answer if found else None
    return _NO_ANSWER if answer is None else _modifier_text(answer)


def _modifier_text(name: str) -> str:
    """Returns the name of a class without what BORIS does not allow."""
    return " ".join(name.translate(_FORBIDDEN).split())


def _subject(identity: int) -> str:
    return f"face {identity}"


def _time(at: Moment) -> float:
    return round(at.time, 3)


def _rate(prediction: Prediction) -> float:
    """Returns frames per second: those of the file, or those that were found."""
    if prediction.frame_rate is not None:
        return prediction.frame_rate
    if prediction.duration > 0:
        return (prediction.frames - 1) / prediction.duration
    return 0.0


def _length(prediction: Prediction) -> float:
    """Returns the length of the video, in which its last frame is shown, too."""
    rate = _rate(prediction)
    return prediction.duration + (1 / rate if rate else 0.0)


def _relative(source: Path, path: Path) -> str:
    """Returns the path of the video from the folder of the project."""
    video = os.path.abspath(source)
    try:
        found = os.path.relpath(video, os.path.abspath(path.parent))
    except ValueError:  # on another drive of Windows
        found = video
    return wording.printable(Path(found).as_posix())
