"""The candidates, faces and notes of a prediction as JSON, for programs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax import files
from meranet_jax.prediction import wording
from meranet_jax.prediction.exports import cells, columns
from meranet_jax.prediction.results import Event, FoundFace, Moment, Prediction

# Version of the contents of ``events.json``
VERSION = 1


def write(prediction: Prediction, path: Path) -> None:
    """Writes the candidates, faces and notes as JSON.

    Args:
      prediction: what was found.
      path: of the file, ``events.json``.

    Raises:
      OSError: if it cannot be written.
    """
    recogniser = prediction.recogniser
    value = {
        "version": VERSION,
        "source": wording.file_name(prediction.source),
        "frames": prediction.frames,
        "analysed_frames": len(prediction.numbers),
        "duration": cells.rounded(prediction.duration, cells.TIME),
        "frame_rate": cells.rounded(prediction.frame_rate, cells.TIME),
        "recogniser": recogniser and dataclasses.asdict(recogniser),
        "faces": [_face_object(face) for face in prediction.faces],
        "events": [_event_object(event) for event in prediction.events],
        "notes": list(prediction.notes),
    }
    with files.atomic_write(path) as part:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def _face_object(face: FoundFace) -> dict[str, Any]:
    return {
        "face": face.identity,
        "first": _moment_object(face.first),
        "last": _moment_object(face.last),
        "eye_distance": cells.rounded(face.eye_distance, cells.PIXEL),
        "problems": list(face.problems),
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
        "duration": cells.rounded(event.duration, cells.TIME),
        "type": event.kind,
        "origin": event.origin,
        "label": event.label,
        "regions": list(event.regions),
        "strength": cells.rounded(event.strength, cells.LENGTH),
        "noise": cells.rounded(event.noise, cells.LENGTH),
        "head_speed": cells.rounded(event.head_speed, cells.LENGTH),
        "flags": list(event.flags),
        "reasons": list(event.reasons),
        "recognition": found
        and {
            "answer": found.answer,
            "most_probable": found.most_probable,
            "probabilities": {
                name: cells.rounded(columns.probability(found, name), cells.PROBABILITY)
                for name in found.classes
            },
            "plausible": None if found.plausible is None else list(found.plausible),
            "clip_frames": found.frames,
            "distinct_frames": found.distinct,
        },
    }


def _moment_object(at: Moment) -> dict[str, Any]:
    return {"time": cells.rounded(at.time, cells.TIME), "frame": at.frame}
