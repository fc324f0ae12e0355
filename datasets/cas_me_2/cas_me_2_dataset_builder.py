"""TFDS builder of CAS(ME)^2."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.columns import Columns
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError

Expressions = Literal["micro", "macro", "both"]

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  CAS(ME)^2code_final.xlsx         the table
  cropped/                         or selectedpic/
    15/                            or s15/
      anger1_1/
        img<number>.jpg

or, for the long recordings, rawpic/s15/15_0101disgustingteeth/img<number>.jpg or
rawvideo/s15/15_0101disgustingteeth.avi."""

# Subject numbers of the folders, in the order of the participants, which the table
# numbers from 1.
_SUBJECTS = (15, 16, *range(19, 28), *range(29, 39), 40)

# Number of each stimulus in the names of the recordings.
_STIMULI = {
    "disgust1": "0101",
    "disgust2": "0102",
    "anger1": "0401",
    "anger2": "0402",
    "happy1": "0502",
    "happy2": "0503",
    "happy3": "0505",
    "happy4": "0507",
    "happy5": "0508",
}
_EMOTIONS = {"anger": "anger", "disgust": "disgust", "happy": "happiness"}

_CLIP = re.compile(r"((anger|disgust|happy)[0-9]+)(?:_[0-9]+)?.*", re.IGNORECASE)
_RECORDING = re.compile(r"([0-9]+)[\s_-]+([0-9]{4}).*")

ESTIMATED_EMOTIONS = ("negative", "others", "positive", "surprise")


@dataclasses.dataclass(kw_only=True)
class Config(LocalCopyConfig):
    """How clips are made from a local copy of CAS(ME)^2.

    Attributes:
      expressions: expressions to include: ``micro``, as in the paper, ``macro`` or
        ``both``.
    """

    window: int = 16
    expressions: Expressions = "micro"

    def __post_init__(self):
        super().__post_init__()
        if self.expressions not in ("micro", "macro", "both"):
            raise DataError(
                f"--expressions={self.expressions} must be one of micro, macro, both."
            )

    def full_name(self) -> str:
        """Returns the name of this configuration's folder of records."""
        name = super().full_name()
        return name if self.expressions == "micro" else f"{name}-{self.expressions}"


def _subject_parser(cells: Sequence[object]) -> Callable[[object], str | None]:
    """Returns a parser of the table's subjects.

    The table numbers participants from 1, but some users replace these numbers with
    those of the folders. Numbers below 15, 17 and 18 can only be participants; numbers
    above 22 can only be folders. The more frequent kind decides for all plain numbers
    of the table; a number that does not fit is reported with its row. A number with an
    s (s15) is always that of a folder.

    Raises:
      DataError: if the numbers are ambiguous.
    """
    plain = [canonical_subject(cell) for cell in cells if _is_plain(cell)]
    numbers = [int(subject.removeprefix("sub")) for subject in plain if subject]
    participants = range(1, len(_SUBJECTS) + 1)
    as_participants = sum(n in participants and n not in _SUBJECTS for n in numbers)
    as_folders = sum(n in _SUBJECTS and n not in participants for n in numbers)
    odd = min(as_participants, as_folders)
    if numbers and (10 * odd > len(numbers) or not as_participants + as_folders):
        raise DataError(
            f"The table's subjects are ambiguous: they may be participants, 1 to "
            f"{len(_SUBJECTS)}, or folders, {_SUBJECTS[0]} to {_SUBJECTS[-1]}. "
            f"{as_participants} rows can only be participants, {as_folders} only "
            "folders. Write the numbers of the folders with an s: s15."
        )

    def subject(cell: object) -> str | None:
        """Returns the subject of a cell, as its folder is named; None if invalid."""
        name = canonical_subject(cell)
        number = int(name.removeprefix("sub")) if name else 0
        if as_participants > as_folders and _is_plain(cell):
            valid = number in participants
            return f"sub{_SUBJECTS[number - 1]}" if valid else None
        return name if number in _SUBJECTS else None

    return subject


def _is_plain(cell: object) -> bool:
    return str(cell).strip()[:1].isdigit()


def _recording_of_clip(clip: str) -> str:
    match = _CLIP.fullmatch(clip)
    return _STIMULI.get(match[1].lower(), "") if match else ""


def _recording_of_folder(subject: str, name: str) -> tuple[str | None, str]:
    """Returns subject and stimulus of ``15_0101disgustingteeth``.

    The subject comes from this name and not from the subject's folder, since the folder
    s19 contains a recording of s23.
    """
    match = _RECORDING.fullmatch(name)
    return (canonical_subject(match[1]), match[2]) if match else (None, name)


def _interpret(row: Annotation) -> Annotation:
    """Sets the emotion of the stimulus, the paper's label, and checks other fields."""
    match = _CLIP.fullmatch(row.clip)
    if not match:
        raise DataError(f"the clip name {row.clip!r} has no stimulus, such as anger1_1")
    expression = row.extra_fields["expression"].lower()
    kind = next((k for k in ("micro", "macro") if expression.startswith(k)), None)
    if kind is None:
        raise DataError(
            f"{row.extra_fields['expression']!r} is neither a micro- nor a "
            "macro-expression"
        )
    estimated = row.extra_fields["estimated_emotion"].lower()
    if estimated not in ESTIMATED_EMOTIONS:
        raise DataError(
            f"estimated emotion {estimated!r} must be one of "
            f"{', '.join(ESTIMATED_EMOTIONS)}"
        )
    fields = {
        "expression": kind,
        "estimated_emotion": estimated,
        "self_reported_emotion": row.extra_fields.get(
            "self_reported_emotion", ""
        ).lower(),
    }
    emotion = _EMOTIONS[match[2].lower()]
    return dataclasses.replace(row, emotion=emotion, extra_fields=fields)


SPECIFICATION = Specification(
    name="cas_me_2",
    title="CAS(ME)^2",
    frame_rate=30,
    recorded_sizes=((640, 480),),
    homepage="http://casme.psych.ac.cn/casme/e3",
    emotions=("anger", "disgust", "happiness"),
    columns=Columns(
        headers={
            "subject": ("Participant", "Subject"),
            "clip": ("Filename", "Clip", "Video"),
            "onset": ("OnsetFrame", "Onset"),
            "apex": ("ApexFrame", "Apex"),
            "offset": ("OffsetFrame", "Offset"),
            "action_units": ("Action Units", "AU", "AUs"),
            "estimated_emotion": ("Estimated Emotion", "Emotion"),
            "expression": ("Type", "Expression", "Expression Type"),
            "self_reported_emotion": ("Self-reported Emotion", "Self-report"),
        },
        optional=frozenset({"self_reported_emotion"}),
        order=(
            "subject",
            "clip",
            "onset",
            "apex",
            "offset",
            "action_units",
            "estimated_emotion",
            "expression",
            "self_reported_emotion",
        ),
        zero_is_missing=frozenset({"onset", "apex", "offset"}),
        subject_parser=_subject_parser,
    ),
    tables=tuple(
        (
            (
                "CAS(ME)^2code_final",
                re.compile(rf"cas[(_]me[)_][\s_^-]*2.*code{rest}", re.IGNORECASE),
            ),
        )
        for rest in (".*updated", "")
    ),
    releases=(
        Release("cropped", (("cropped",),), cropped=True),
        Release("selectedpic", (("selectedpic",),)),
        Release(
            "rawpic",
            (("rawpic",),),
            full_recording=True,
            parse_folder_names=_recording_of_folder,
            parse_clip_name=_recording_of_clip,
        ),
        Release(
            "rawvideo",
            (("rawvideo",),),
            full_recording=True,
            parse_folder_names=_recording_of_folder,
            parse_clip_name=_recording_of_clip,
        ),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the published table's micro-expressions": {
            "happiness": 22,
            "disgust": 18,
            "anger": 17,
        }
    },
    paper_counts={"anger": 22, "disgust": 17, "happiness": 18},
    count_remarks={
        "the published table's micro-expressions": {
            emotion: "the paper's three numbers are the published ones with the names "
            "of the emotions permuted"
            for emotion in ("anger", "disgust", "happiness")
        }
    },
    interpret=_interpret,
    selects=lambda row, config: (
        config.expressions in ("both", row.extra_fields["expression"])
    ),
    extra_features=lambda row: dict(row.extra_fields),
    counts_apply=lambda config: config.expressions == "micro",
)


class Builder(LocalCopyBuilder):
    """Writes the records of CAS(ME)^2, one for each selected row of its table."""

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES = {
        "1.2.0": "The frame rate. Images of 16 bits, rotated images and videos, "
        "damaged JPEGs and videos, and frames of several sizes are no longer changed "
        "or accepted silently.",
        "1.1.0": "The frames at onset and apex.",
        "1.0.0": "First release.",
    }
    SPECIFICATION = SPECIFICATION
    BUILDER_CONFIGS = [
        Config(
            name="apex16-16x112",
            description="The 16 frames around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions

    def extra_features(self) -> dict:
        """Returns the features of the other labels of the table.

        ``emotion`` is the emotion of the stimulus.
        """
        return {
            "expression": tfds.features.ClassLabel(names=["micro", "macro"]),
            "estimated_emotion": tfds.features.ClassLabel(
                names=list(ESTIMATED_EMOTIONS)
            ),
            "self_reported_emotion": tfds.features.Text(),
        }
