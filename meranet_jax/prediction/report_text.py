"""The report of a recording, ``report.md``.

A candidate is an interval of motion. The report says which clips it resembles, and
nothing about feelings; where there is no answer it says why.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.analysis import markdown
from meranet_jax.prediction import wording
from meranet_jax.prediction.results import (
    Event,
    FoundFace,
    Prediction,
    RecogniserDescription,
)

# The picture of the whole recording, in the folder of the report
TIMELINE = "timeline.png"

# F1 of published methods on long recordings (CAS(ME)^2 and SAMM Long Videos), of
# intervals of micro-expressions that overlap by half: from MDMD to an improved OF-FD
_PUBLISHED_F1 = "0.01 to 0.25"

# What is special in Markdown, also in a table
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")

_LAW = (
    "Law: in the European Union it is prohibited to infer emotions of people at work "
    "and in education from their faces, except for medical or safety reasons (AI Act, "
    "Regulation (EU) 2024/1689, Art. 5(1)(f)), and elsewhere people must be informed "
    "that such a system is used (Art. 50(3)): see `docs/video.md`."
)


def write(prediction: Prediction, path: Path) -> None:
    """Writes the report, with links to the pictures that exist in its folder.

    Args:
      prediction: what was found.
      path: of the file, ``report.md``; written after the pictures.

    Raises:
      OSError: if it cannot be written.
    """
    with files.atomic_write(path) as part:
        part.write_text(describe(prediction, path.parent), encoding="utf-8")


def describe(prediction: Prediction, folder: Path | None = None) -> str:
    """Formats the report as Markdown.

    Args:
      prediction: what was found.
      folder: of the report, to whose pictures it has links; None for no links.
    """
    has_timeline = folder is not None and (folder / TIMELINE).is_file()
    name = _escaped(wording.file_name(prediction.source))
    sections = [
        f"# Candidates for micro-expressions in {name}",
        _recording(prediction),
        caution(prediction),
        *([f"![Motion of the face over time]({TIMELINE})"] if has_timeline else []),
        "## Candidates",
        *_candidates(prediction, folder),
        "## Faces",
        *_faces(prediction),
    ]
    if prediction.notes:
        sections += ["## Notes", _bullets(prediction.notes)]
    sections += ["## Recogniser", *_recogniser(prediction.recogniser), _LAW]
    return "\n\n".join(sections) + "\n"


def strip_name(event: Event) -> str:
    """Returns the path of the frames of a candidate from the folder of the report."""
    return f"candidates/{event.number:04d}.png"


def animation_name(event: Event) -> str:
    """Returns the path of the animation of a candidate, likewise."""
    return f"candidates/{event.number:04d}.gif"


def summary(prediction: Prediction) -> str:
    """Formats the candidates for a terminal."""
    several = len(prediction.faces) > 1
    lines = [
        f"  {wording.line(event, prediction.recogniser, several=several)}"
        for event in prediction.events
    ]
    return "\n".join([headline(prediction), *lines, *prediction.notes])


def headline(prediction: Prediction) -> str:
    """Returns the name of the recording with the number of its candidates."""
    return f"{wording.file_name(prediction.source)}: {_counted(prediction)}"


def _counted(prediction: Prediction) -> str:
    """Counts the candidates by what was said of them."""
    if not prediction.events:
        return "no candidate was found"
    answered = sum(
        event.recognition is not None and event.recognition.answer is not None
        for event in prediction.events
    )
    text = _count(len(prediction.events), "candidate")
    if prediction.recogniser is not None:
        text += f", {answered} with an answer"
    if all(event.origin == "imported" for event in prediction.events):
        return text
    return f"{text}; most candidates are not micro-expressions"


def _recording(prediction: Prediction) -> str:
    """Says what was looked at."""
    rate = prediction.frame_rate
    frames = _count(prediction.frames, "frame")
    parts = [f"The recording has {frames} in {prediction.duration:.1f} s"]
    parts.append(
        "; its frame rate is not known."
        if rate is None
        else f", {rate:.2f} frames per second."
    )
    analysed = len(prediction.numbers)
    if analysed == prediction.frames:
        parts.append(" All of them were analysed.")
    else:
        parts.append(f" {_count(analysed, 'frame')} of these were analysed.")
    faces = _count(len(prediction.faces), "face") if prediction.faces else "No face"
    parts.append(f" {faces} {'were' if len(prediction.faces) > 1 else 'was'} found.")
    return "".join(parts)


def caution(prediction: Prediction) -> str:
    """Says what candidates are, and what they are not, as Markdown."""
    sentences = []
    if any(event.origin == "spotted" for event in prediction.events):
        sentences.append(
            "The candidates below are intervals in which a face moves briefly. Most "
            "candidates in recordings of people are **not micro-expressions**: "
            f"published methods reach an F1 of {_PUBLISHED_F1} on long recordings, so "
            "even with the best one about three of four candidates are false, and "
            "about three of four micro-expressions are not found. Look at each "
            "candidate before you use it."
        )
    if any(event.origin == "imported" for event in prediction.events):
        sentences.append(
            "Imported intervals were read from a file (--events), not searched for."
        )
    if prediction.recogniser is not None:
        sentences.append(
            "A class names the clips that a candidate resembles. It says nothing about "
            "feelings, intentions or honesty."
        )
    if not prediction.events:
        sentences.append(
            "No candidate was found. This does not show that there was no "
            "micro-expression: published methods miss most of them."
        )
    return " ".join(sentences)


def _candidates(prediction: Prediction, folder: Path | None) -> list[str]:
    """Returns the table of candidates, and the reasons where there is no answer."""
    events = prediction.events
    if not events:
        return ["None."]
    several = len(prediction.faces) > 1
    has_labels = any(event.label for event in events)
    asked = any(event.recognition or event.reasons for event in events)
    calibrated = any(
        event.recognition and event.recognition.plausible is not None
        for event in events
    )
    head = ["no.", *(["face"] if several else []), "type", "onset", "apex", "offset"]
    head += ["duration", *(["label"] if has_labels else [])]
    head += [*(["result"] if asked else []), *(["plausible"] if calibrated else [])]
    head += ["moving regions", "flags"]
    links = {event.number: _links(event, folder) for event in events}
    has_pictures = any(links.values())
    head += ["pictures"] if has_pictures else []
    rows = []
    for event in events:
        row = [str(event.number), *([str(event.face)] if several else [])]
        row += [wording.what(event)]
        row += map(wording.moment, (event.onset, event.apex, event.offset))
        row += [f"{event.duration:.3f} s"]
        row += [_escaped(event.label)] if has_labels else []
        row += [_result(event, prediction.recogniser)] if asked else []
        row += [_plausible(event)] if calibrated else []
        row += [", ".join(map(wording.region, event.regions)), ", ".join(event.flags)]
        row += [links[event.number]] if has_pictures else []
        rows.append(row)
    sections = [
        "Times are in seconds after the first frame; frames are counted from 1, or are "
        "the numbers in the names of images.",
        markdown.table(head, rows),
    ]
    if calibrated:
        sections.append(
            "*Plausible* are the classes of the conformal set; an empty set means that "
            "the candidate is unlike the clips that the recogniser was calibrated on."
        )
    if any("left" in name or "right" in name for e in events for name in e.regions):
        sections.append(
            "*Left* and *right* are those of the picture: the left brow is the right "
            "one of a person who faces the camera."
        )
    if any(event.flags for event in events):
        sections.append(
            "*Flags* mark what may explain the motion: a blink, motion of the head, or "
            "motion of the mouth only, as in speech."
        )
    return [*sections, *_unanswered(events)]


def _links(event: Event, folder: Path | None) -> str:
    """Returns links to the pictures of a candidate that exist."""
    if folder is None:
        return ""
    pictures = {"frames": strip_name(event), "animation": animation_name(event)}
    return ", ".join(
        f"[{text}]({name})"
        for text, name in pictures.items()
        if (folder / name).is_file()
    )


def _result(event: Event, recogniser: RecogniserDescription | None) -> str:
    """Says what a candidate resembles."""
    if event.reasons:
        return "no answer"
    if event.recognition is None:
        why = ": longer than 0.5 s" if event.kind == "macro" else ""
        return f"not classified{why}"
    return _escaped(wording.resemblance(event, recogniser))


def _plausible(event: Event) -> str:
    found = event.recognition
    if found is None or found.plausible is None:
        return ""
    return _escaped(", ".join(found.plausible)) or "none"


def _unanswered(events: Sequence[Event]) -> list[str]:
    """Returns the candidates without an answer by reason."""
    numbers: dict[str, list[str]] = {}
    for event in events:
        for reason in event.reasons:
            numbers.setdefault(reason, []).append(str(event.number))
    if not numbers:
        return []
    lines = [
        f"{_escaped(reason)}: {'candidates' if len(of) > 1 else 'candidate'} "
        f"{wording.listed(tuple(of))}"
        for reason, of in numbers.items()
    ]
    return ["There is no answer for these reasons:", _bullets(lines, escape=False)]


def _faces(prediction: Prediction) -> list[str]:
    if not prediction.faces:
        return [
            "No face was found. Faces must look towards the camera; see "
            "`docs/video.md`."
        ]
    head = ["face", "first seen", "last seen", "seen in", "between the eyes"]
    head += ["candidates", "problems"]
    rows = [
        [
            str(face.identity),
            wording.moment(face.first),
            wording.moment(face.last),
            _share_seen(face, len(prediction.numbers)),
            _pixels(face.eye_distance),
            str(sum(event.face == face.identity for event in prediction.events)),
            ", ".join(face.problems) or "none",
        ]
        for face in prediction.faces
    ]
    sections = [markdown.table(head, rows)]
    if any(face.problems for face in prediction.faces):
        sections.append(
            "The motion of a face with a problem is unreliable in most of the "
            "recording."
        )
    return sections


def _share_seen(face: FoundFace, frames: int) -> str:
    """Returns the share of the analysed frames of the recording with a face."""
    return f"{np.sum(face.signals.success) / max(frames, 1):.0%} of the frames"


def _pixels(distance: float) -> str:
    return f"{distance:.0f} pixels" if np.isfinite(distance) else "not known"


def _recogniser(recogniser: RecogniserDescription | None) -> list[str]:
    """Describes the recogniser, and its limits."""
    if recogniser is None:
        return ["Candidates were only searched for; no recogniser was used."]
    source = _escaped(recogniser.source)
    trained = _escaped(wording.listed(recogniser.trained_on)) or "unknown data sets"
    sentence = f"{_escaped(recogniser.title)} of {source}, trained on {trained}"
    if recogniser.frame_rates:
        rates = wording.listed(tuple(f"{rate:g}" for rate in recogniser.frame_rates))
        sentence += f", recorded at {rates} frames per second"
    sections = [f"{sentence}."]
    if recogniser.coverage is not None:
        least = "at least " if recogniser.models > 1 else ""
        text = (
            "The plausible classes contain the class of a new person's clip with a "
            f"probability of {least}{recogniser.coverage:.0%}, if this clip is like "
            "those of the data sets: this does not carry over to other cameras, people "
            "or situations."
        )
        if recogniser.observed_coverage is not None:
            text += (
                " Of clips of people that were left out, "
                f"{recogniser.observed_coverage:.0%} were covered."
            )
        sections.append(text)
    if recogniser.limits:
        sections.append(_bullets(recogniser.limits))
    return sections


def _bullets(sentences: Sequence[str], *, escape: bool = True) -> str:
    return "\n".join(f"- {_escaped(one) if escape else one}" for one in sentences)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _escaped(text: str) -> str:
    """Returns text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
