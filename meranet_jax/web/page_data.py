"""What the page shows of a prediction, as JSON without paths, and as numbers."""

import dataclasses
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
    RecogniserDescription,
    Recognition,
)
from meranet_jax.video.facial_motion import part
from meranet_jax.web.job_files import JobFiles

# Parts of the face, from top to bottom
_PARTS = ("brow", "eye", "nose", "mouth")


def write(prediction: Prediction, caution: str, of_job: JobFiles) -> None:
    """Writes what the page shows.

    Args:
      prediction: what was found.
      caution: what candidates are, and what they are not.
      of_job: the files of the recording, of which pictures exist already.

    Raises:
      OSError: if it cannot be written.
    """
    recogniser = prediction.recogniser
    value = {
        "duration": prediction.duration,
        "frames": prediction.frames,
        "frame_rate": prediction.frame_rate,
        # Of the frames that were analysed
        "times": np.round(prediction.times, 4).tolist(),
        "faces": [_face(face) for face in prediction.faces],
        "events": [
            _event(event, prediction, of_job.pictures) for event in prediction.events
        ],
        "notes": list(prediction.notes),
        "caution": caution.replace("**", ""),
        "recogniser": recogniser
        and {
            "title": recogniser.title,
            "trained_on": list(recogniser.trained_on),
            "limits": list(recogniser.limits),
            "coverage": recogniser.coverage,
        },
    }
    _write_numbers(prediction.all_times, "<f8", of_job.times)
    for face in prediction.faces:
        _write_numbers(face.signals.motion, "<f4", of_job.motion(face.identity))
    files.write_json(of_job.page, value)


def _write_numbers(values: np.ndarray, kind: str, path: Path) -> None:
    with files.atomic_write(path) as part:
        part.write_bytes(values.astype(kind).tobytes())


def _face(face: FoundFace) -> dict[str, Any]:
    signals = face.signals
    parts = np.array([part(region) for region in signals.regions])
    motion = {}
    for name in _PARTS:
        # The largest motion of the regions of a part; NaN if none was measured
        values = signals.motion[:, parts == name]
        measured = np.isfinite(values).any(1) if values.size else np.zeros(0, bool)
        motion[name] = [
            round(float(np.nanmax(row)), 4) if seen else None
            for row, seen in zip(values, measured, strict=False)
        ]
    return {
        "identity": face.identity,
        "first": signals.first,
        "problems": list(face.problems),
        "motion": motion,
        "regions": [
            {"title": wording.region(region), "part": part(region)}
            for region in signals.regions
        ],
    }


def _event(event: Event, prediction: Prediction, pictures: Path) -> dict[str, Any]:
    name = f"{event.number:04d}"
    return {
        "number": event.number,
        "face": event.face,
        "onset": _moment(event.onset),
        "apex": _moment(event.apex),
        "offset": _moment(event.offset),
        "kind": event.kind,
        "what": wording.what(event),
        "resembles": wording.resemblance(
            event, _describe_generated(prediction.recogniser)
        ),
        "regions": [wording.region(region) for region in event.regions],
        "flags": list(event.flags),
        "reasons": list(event.reasons),
        "strength": event.strength,
        "noise": event.noise,
        "recognition": event.recognition and _recognition(event.recognition),
        "picture": name,
        "strip": (pictures / f"{name}.png").is_file(),
        "animation": (pictures / f"{name}.gif").is_file(),
    }


def _describe_generated(
    recogniser: RecogniserDescription | None,
) -> RecogniserDescription | None:
    """Returns a recogniser whose generated data sets are described, and not named.

    People who have not made them do not know their names, which the details have.
    """
    if recogniser is None:
        return None
    names = (
        "a data set of generated faces" if name.startswith("synthetic") else name
        for name in recogniser.trained_on
    )
    return dataclasses.replace(recogniser, trained_on=tuple(dict.fromkeys(names)))


def _recognition(found: Recognition) -> dict[str, Any]:
    return {
        "answer": found.answer,
        "probabilities": [
            {"name": name, "value": round(probability, 4)}
            for name, probability in zip(
                found.classes, found.probabilities, strict=True
            )
        ],
        "plausible": None if found.plausible is None else list(found.plausible),
        "frames": found.frames,
        "distinct": found.distinct,
    }


def _moment(at: Moment) -> dict[str, Any]:
    return {"time": round(at.time, 4), "frame": at.frame}
