"""Corrections of candidates: they are checked, and exported with the machine's own.

The machine's proposal is never changed. A correction says whether the user accepts a
candidate, and where it begins and ends.
"""

import csv
import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.prediction.results import Event, Moment, Prediction
from meranet_jax.video.spotting import LONGEST_MICRO

Verdict = Literal["open", "accepted", "rejected"]
_VERDICTS = ("open", "accepted", "rejected")

# Label of a candidate in the corrected files
_LABELS = {"open": "not reviewed", "accepted": "accepted"}

# Seconds that an interval may lie after the last frame, which is shown for a while
_AFTER = 0.1

_ABOUT = """\
machine/        what the machine has found, unchanged
corrected/      the same files without the rejected candidates, with your intervals;
                the label says which candidates you accepted
corrections.csv each candidate with the machine's proposal and your correction

Probabilities, regions and pictures belong to the machine's intervals. A class names the
clips that a candidate resembles. It says nothing about feelings, intentions or honesty.
For BORIS and ELAN, put the video next to the .boris or .eaf file.
"""


@dataclasses.dataclass(frozen=True)
class Correction:
    """What the user says of a candidate.

    Attributes:
      verdict: ``open`` if nothing was decided.
      onset, offset: in seconds after the first frame; None if they are the machine's.
    """

    verdict: Verdict = "open"
    onset: float | None = None
    offset: float | None = None


def check(value: Any, numbers: set[int], duration: float) -> dict[int, Correction]:
    """Returns the corrections that a page has sent.

    Args:
      value: a list of objects with ``number``, ``verdict``, ``onset`` and ``offset``.
      numbers: of the candidates that exist.
      duration: of the recording in seconds.

    Raises:
      UserError: if it is not that, or an interval is not within the recording.
    """
    if not isinstance(value, list):
        raise UserError("The corrections are not a list. Load the page again.")
    found: dict[int, Correction] = {}
    for one in value:
        if not isinstance(one, dict):
            raise UserError("A correction is not an object. Load the page again.")
        number, verdict = one.get("number"), one.get("verdict")
        if type(number) is not int or number not in numbers or number in found:
            raise UserError("A correction is of no candidate, or there are two of one.")
        if verdict not in _VERDICTS:
            raise UserError(f"The decision on candidate {number} is not known.")
        onset, offset = one.get("onset"), one.get("offset")
        if (onset is None) != (offset is None):
            raise UserError(
                f"Candidate {number} has an onset or an offset only. Give both."
            )
        if onset is not None:
            _check_interval(number, onset, offset, duration)
        found[number] = Correction(verdict, onset, offset)
    return found


def _check_interval(number: int, onset: Any, offset: Any, duration: float) -> None:
    times = (onset, offset)
    if not all(type(t) in (int, float) and math.isfinite(t) for t in times):
        raise UserError(f"The times of candidate {number} are not numbers.")
    if not 0 <= onset <= offset <= duration + _AFTER:
        raise UserError(
            f"Candidate {number} cannot be from {onset:.3f} to {offset:.3f} s: its "
            f"onset must be before its offset, and both between 0 and {duration:.3f} s."
        )


def to_objects(corrections: Mapping[int, Correction]) -> list[dict[str, Any]]:
    """Returns corrections in the form that ``check`` reads."""
    return [
        {"number": number, **dataclasses.asdict(one)}
        for number, one in sorted(corrections.items())
    ]


def corrected(
    prediction: Prediction, corrections: Mapping[int, Correction]
) -> Prediction:
    """Returns a prediction without the rejected candidates, with the user's intervals.

    The label of a candidate says whether it was accepted, and whether it was moved.

    Args:
      prediction: the machine's.
      corrections: by the number of the candidate.
    """
    events = []
    for event in prediction.events:
        correction = corrections.get(event.number, Correction())
        if correction.verdict == "rejected":
            continue
        label = _LABELS[correction.verdict]
        if correction.onset is not None:
            event = _moved(event, correction, prediction)
            label += ", moved"
        said = f"{event.label}; {label}" if event.label else label
        events.append(dataclasses.replace(event, label=said))
    note = (
        "These are the candidates after corrections of the user's. Probabilities "
        "belong to the machine's intervals, also where the user has moved them."
    )
    return dataclasses.replace(
        prediction, events=tuple(events), notes=(note, *prediction.notes)
    )


def _moved(event: Event, correction: Correction, prediction: Prediction) -> Event:
    assert correction.onset is not None and correction.offset is not None
    onset = _moment(correction.onset, prediction)
    offset = _moment(correction.offset, prediction)
    apex = event.apex
    if not onset.time <= apex.time <= offset.time:
        apex = onset if apex.time < onset.time else offset
    brief = offset.time - onset.time <= LONGEST_MICRO
    return dataclasses.replace(
        event,
        onset=onset,
        apex=apex,
        offset=offset,
        kind="micro" if brief else "macro",
    )


def _moment(time: float, prediction: Prediction) -> Moment:
    """Returns the frame that is shown nearest to a time.

    Frames between those that were analysed are placed evenly between them.
    """
    numbers, times = prediction.numbers, prediction.times
    if not len(times):
        return Moment(time, 1)
    frame = int(np.rint(np.interp(time, times, numbers)))
    return Moment(float(np.interp(frame, numbers, times)), frame)


def export(
    prediction: Prediction,
    corrections: Mapping[int, Correction],
    results: Path,
    name: str,
    path: Path,
) -> None:
    """Writes the machine's files, the corrected ones and a table of both to a zip file.

    Args:
      prediction: the machine's.
      corrections: by the number of the candidate.
      results: folder of the machine's files.
      name: of the recording as it is shown.
      path: of the zip file.

    Raises:
      OSError: if a file cannot be written.
    """
    from meranet_jax.prediction import result_files  # matplotlib takes a second

    folder = path.parent / "corrected"
    folder.mkdir(exist_ok=True)
    # Programs look for the video next to their file.
    source = folder / name
    made = dataclasses.replace(corrected(prediction, corrections), source=source)
    result_files.write(made, folder, Path(name).stem)
    with (
        files.atomic_write(path) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr("README.txt", _ABOUT)
        archive.writestr("corrections.csv", _table(prediction, corrections))
        for top, root in (("machine", results), ("corrected", folder)):
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    archive.write(file, f"{top}/{file.relative_to(root).as_posix()}")


def _table(prediction: Prediction, corrections: Mapping[int, Correction]) -> str:
    """Returns a row for each candidate: the proposal, and what the user says."""
    rows: list[list[object]] = [
        [
            *("number", "face", "machine_onset", "machine_apex", "machine_offset"),
            *("machine_answer", "verdict", "onset", "offset"),
        ]
    ]
    for event in prediction.events:
        one = corrections.get(event.number, Correction())
        onset = event.onset.time if one.onset is None else one.onset
        offset = event.offset.time if one.offset is None else one.offset
        times = (event.onset.time, event.apex.time, event.offset.time)
        answer = event.recognition.answer if event.recognition else None
        rows.append(
            [
                *(event.number, event.face, *(f"{time:.4f}" for time in times)),
                *(answer or "", one.verdict, f"{onset:.4f}", f"{offset:.4f}"),
            ]
        )
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def save(prediction: Prediction, path: Path) -> None:
    """Saves a prediction for ``load``."""
    with files.atomic_write(path) as part:
        part.write_bytes(pickle.dumps(prediction))


def load(path: Path) -> Prediction:
    """Loads a prediction that a worker has saved.

    Only workers do this, which have no more rights than the one that has saved it.
    """
    return pickle.loads(path.read_bytes())
