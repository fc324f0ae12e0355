"""Corrections of candidates: they are checked, and exported with the machine's own.

The machine's proposal is never changed. A correction says whether the user accepts a
candidate, and where it begins and ends.
"""

import csv
import dataclasses
import io
import math
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.prediction.results import Event, Moment, Prediction
from meranet_jax.video import candidates, sampling
from meranet_jax.web.job_files import JobFiles

Verdict = Literal["open", "accepted", "rejected"]
_VERDICTS = ("open", "accepted", "rejected")

# What verdicts are called in files
_VERDICT_NAMES = {
    "open": "not reviewed",
    "accepted": "accepted",
    "rejected": "rejected",
}

# What files that other programs open are called before they are exported: the name that
# the browser has sent names no file on this machine.
STEM = "recording"

# Seconds that an interval may lie after the last frame, which is shown for a while
_AFTER = 0.1

_ABOUT = """\
machine/        what the machine has found, unchanged
corrected/      the same files without the rejected candidates, with your intervals;
                the label says which candidates you accepted
corrections.csv each candidate with the machine's proposal and your correction

Probabilities, regions and pictures belong to the machine's intervals. A class names the
clips that a candidate resembles. It says nothing about feelings, intentions or honesty.
For BORIS and ELAN, put the video next to the .boris or .eaf file. A recording of the
webcam is there already.
"""


@dataclasses.dataclass(frozen=True)
class Correction:
    """What the user says of a candidate.

    Attributes:
      verdict: ``open`` if nothing was decided.
      onset, offset: in seconds after the first frame; None where it is the machine's.
    """

    verdict: Verdict = "open"
    onset: float | None = None
    offset: float | None = None

    @property
    def is_moved(self) -> bool:
        """Whether the interval is not the machine's."""
        return self.onset is not None or self.offset is not None


def check(
    value: Any, intervals: Mapping[int, tuple[float, float]], duration: float
) -> dict[int, Correction]:
    """Returns the corrections that a page has sent.

    Args:
      value: a list of objects with ``number``, ``verdict``, ``onset`` and ``offset``.
      intervals: onset and offset of the machine by the number of the candidate.
      duration: of the recording in seconds.

    Raises:
      UserError: if it is not that, or an interval is empty or not within the recording.
    """
    if not isinstance(value, list):
        raise UserError("The corrections are not a list. Load the page again.")
    found: dict[int, Correction] = {}
    for one in value:
        if not isinstance(one, dict):
            raise UserError("A correction is not an object. Load the page again.")
        number, verdict = one.get("number"), one.get("verdict")
        if type(number) is not int or number not in intervals or number in found:
            raise UserError("A correction is of no candidate, or there are two of one.")
        if verdict not in _VERDICTS:
            raise UserError(f"The decision on candidate {number} is not known.")
        correction = Correction(verdict, one.get("onset"), one.get("offset"))
        if correction.is_moved:
            _check_interval(number, correction, intervals[number], duration)
        found[number] = correction
    return found


def _check_interval(
    number: int,
    correction: Correction,
    machine: tuple[float, float],
    duration: float,
) -> None:
    given = (correction.onset, correction.offset)
    if not all(
        t is None or (type(t) in (int, float) and math.isfinite(t)) for t in given
    ):
        raise UserError(f"The times of candidate {number} are not numbers.")
    onset, offset = (
        own if own is not None else time
        for own, time in zip(given, machine, strict=True)
    )
    if not 0 <= onset < offset <= duration + _AFTER:
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
        label = _VERDICT_NAMES[correction.verdict]
        if correction.is_moved:
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
    onset, apex, offset = event.onset, event.apex, event.offset
    if correction.onset is not None:
        onset = _moment(correction.onset, prediction)
    if correction.offset is not None:
        offset = _moment(correction.offset, prediction)
    if not onset.time <= apex.time <= offset.time:
        apex = onset if apex.time < onset.time else offset
    return dataclasses.replace(
        event,
        onset=onset,
        apex=apex,
        offset=offset,
        kind=candidates.kind_of(offset.time - onset.time),
    )


def _moment(time: float, prediction: Prediction) -> Moment:
    """Returns the frame that is shown nearest to a time."""
    index = sampling.nearest_index(prediction.all_times, time)
    return Moment(
        float(prediction.all_times[index]), int(prediction.all_numbers[index])
    )


def export(
    prediction: Prediction,
    corrections: Mapping[int, Correction],
    of_job: JobFiles,
    name: str,
    stem: str,
    video: Path | None,
) -> None:
    """Writes the machine's files, the corrected ones and a table of both to a zip file.

    Args:
      prediction: the machine's.
      corrections: by the number of the candidate.
      of_job: the files of the recording.
      name: of the video.
      stem: of the names of files in the zip file, and name of the folder in it.
      video: the recording, if it belongs into the file; else None.

    Raises:
      OSError: if a file cannot be written.
    """
    from meranet_jax.prediction import result_files  # matplotlib takes a second

    folder = of_job.export.parent / "corrected"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # Programs look for the video next to their file.
    made = dataclasses.replace(corrected(prediction, corrections), source=folder / name)
    result_files.write(made, folder, STEM)
    with (
        files.atomic_write(of_job.export) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        # So that archives that are unpacked side by side do not mix
        archive.writestr(f"{stem}/README.txt", _ABOUT)
        archive.writestr(f"{stem}/corrections.csv", _table(prediction, corrections))
        for top, root in (("machine", of_job.results), ("corrected", folder)):
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    inside = file.relative_to(root).as_posix()
                    # Only in the archive have files the name of the recording.
                    if inside.startswith(STEM):
                        inside = stem + inside.removeprefix(STEM)
                    archive.write(file, f"{stem}/{top}/{inside}")
        if video is not None:
            archive.write(video, f"{stem}/corrected/{name}", zipfile.ZIP_STORED)
    shutil.rmtree(folder)


def _table(prediction: Prediction, corrections: Mapping[int, Correction]) -> str:
    """Returns a row for each candidate: the proposal, and what the user says."""
    rows: list[list[object]] = [
        [
            *("number", "face", "machine_onset", "machine_apex", "machine_offset"),
            *("machine_answer", "verdict", "onset", "offset"),
            *("onset_frame", "offset_frame", "moved"),
        ]
    ]
    for event in prediction.events:
        one = corrections.get(event.number, Correction())
        # As in the corrected files
        own = _moved(event, one, prediction) if one.is_moved else event
        times = (event.onset.time, event.apex.time, event.offset.time)
        answer = event.recognition.answer if event.recognition else None
        rows.append(
            [
                *(event.number, event.face, *(f"{time:.4f}" for time in times)),
                *(answer or "", _VERDICT_NAMES[one.verdict]),
                *(f"{moment.time:.4f}" for moment in (own.onset, own.offset)),
                *(own.onset.frame, own.offset.frame),
                "yes" if one.is_moved else "no",
            ]
        )
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
