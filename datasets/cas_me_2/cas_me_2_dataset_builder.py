"""CAS(ME)^2: where a copy of it keeps what, and what its table names."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow_datasets as tfds

from datasets.builder import CopyBuilder
from datasets.source.annotations import Annotation, Columns, canonical_subject
from datasets.source.releases import Release
from datasets.source.specification import CopyConfig, Facts
from meranet_jax.errors import DataError

Expressions = Literal["micro", "macro", "both"]

_EXPECTED = """\
The folder is expected to hold, up to three folders deep:

  CAS(ME)^2code_final.xlsx         the table
  cropped/                         or selectedpic/
    15/                            or s15/
      anger1_1/
        img<number>.jpg

or, for the long recordings, rawpic/s15/15_0101disgustingteeth/img<number>.jpg or
rawvideo/s15/15_0101disgustingteeth.avi."""

# The table counts its participants from 1; the folders have these numbers.
_SUBJECTS = (15, 16, *range(19, 28), *range(29, 39), 40)

# By the number that a recording's name holds, the stimulus that was shown.
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

ESTIMATED = ("negative", "others", "positive", "surprise")


@dataclasses.dataclass(kw_only=True)
class Config(CopyConfig):
    """What becomes of a copy of CAS(ME)^2.

    Attributes:
      expressions: which of them; the paper's are the micro-expressions.
    """

    window: int = 16
    expressions: Expressions = "micro"

    def __post_init__(self):
        super().__post_init__()
        if self.expressions not in ("micro", "macro", "both"):
            raise DataError(
                f"--expressions={self.expressions} is none of micro, macro, both."
            )

    def full_name(self) -> str:
        name = super().full_name()
        return name if self.expressions == "micro" else f"{name}-{self.expressions}"


def _subjects(cells: Sequence[object]) -> Callable[[object], str | None]:
    """``sub15`` for participant 1, which the table writes, and for s15 itself.

    Some users write the folders' numbers instead. Below 15, 17 and 18 are participants
    only, above 22 are folders only; the more frequent of these tell for all plain
    numbers of a table, and what does not fit is an odd cell, reported as its own row.

    Raises:
      DataError: if it cannot be told which are meant.
    """
    plain = [canonical_subject(cell) for cell in cells if _is_plain(cell)]
    numbers = [int(subject.removeprefix("sub")) for subject in plain if subject]
    participants = range(1, len(_SUBJECTS) + 1)
    as_participants = sum(n in participants and n not in _SUBJECTS for n in numbers)
    as_folders = sum(n in _SUBJECTS and n not in participants for n in numbers)
    odd = min(as_participants, as_folders)
    if numbers and (10 * odd > len(numbers) or not as_participants + as_folders):
        raise DataError(
            f"The table's subjects may be participants, counted from 1 to "
            f"{len(_SUBJECTS)}, or the folders' numbers, {_SUBJECTS[0]} to "
            f"{_SUBJECTS[-1]}: {as_participants} can only be the first, {as_folders} "
            "only the second. Write the folders' numbers with an s: s15."
        )

    def subject(cell: object) -> str | None:
        name = canonical_subject(cell)
        number = int(name.removeprefix("sub")) if name else 0
        if as_participants > as_folders and _is_plain(cell):
            there = number in participants
            return f"sub{_SUBJECTS[number - 1]}" if there else None
        return name if number in _SUBJECTS else None

    return subject


def _is_plain(cell: object) -> bool:
    return str(cell).strip()[:1].isdigit()


def _recording_of_clip(clip: str) -> str:
    match = _CLIP.fullmatch(clip)
    return _STIMULI.get(match[1].lower(), "") if match else ""


def _recording_of_folder(subject: str, name: str) -> tuple[str | None, str]:
    """Subject and stimulus of ``15_0101disgustingteeth``.

    The subject is the name's own: s19 holds a recording of s23.
    """
    match = _RECORDING.fullmatch(name)
    return (canonical_subject(match[1]), match[2]) if match else (None, name)


def _interpret(row: Annotation) -> Annotation:
    """The row with its emotion, which is that of the stimulus (the paper's label)."""
    match = _CLIP.fullmatch(row.clip)
    if not match:
        raise DataError(f"the clip {row.clip!r} names no stimulus, as anger1_1 does")
    expression = row.beside["expression"].lower()
    kind = next((k for k in ("micro", "macro") if expression.startswith(k)), None)
    if kind is None:
        raise DataError(
            f"{row.beside['expression']!r} is neither a micro- nor a macro-expression"
        )
    estimated = row.beside["estimated_emotion"].lower()
    if estimated not in ESTIMATED:
        raise DataError(
            f"estimated emotion {estimated!r} is none of {', '.join(ESTIMATED)}"
        )
    beside = {
        "expression": kind,
        "estimated_emotion": estimated,
        "self_reported_emotion": row.beside["self_reported_emotion"].lower(),
    }
    return dataclasses.replace(row, emotion=_EMOTIONS[match[2].lower()], beside=beside)


FACTS = Facts(
    name="cas_me_2",
    title="CAS(ME)^2",
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
        zero_is_missing=True,
        subjects=_subjects,
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
            whole=True,
            of_folder=_recording_of_folder,
            of_clip=_recording_of_clip,
        ),
        Release(
            "rawvideo",
            (("rawvideo",),),
            whole=True,
            of_folder=_recording_of_folder,
            of_clip=_recording_of_clip,
        ),
    ),
    expected=_EXPECTED,
    published={
        "the published table's micro-expressions": {
            "happiness": 22,
            "disgust": 18,
            "anger": 17,
        }
    },
    paper={"anger": 22, "disgust": 17, "happiness": 18},
    remarks={
        "the published table's micro-expressions": {
            emotion: "the paper's three numbers are the published ones with the names "
            "of the emotions permuted"
            for emotion in ("anger", "disgust", "happiness")
        }
    },
    interpret=_interpret,
    chosen=lambda row, config: config.expressions in ("both", row.beside["expression"]),
    beside=lambda row: dict(row.beside),
    comparable=lambda config: config.expressions == "micro",
)


class Builder(CopyBuilder):
    """Records of CAS(ME)^2, a clip for each row of its table that is asked for."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    FACTS = FACTS
    BUILDER_CONFIGS = [
        Config(
            name="apex16-16x112",
            description="The 16 frames around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = FACTS.instructions

    def features(self) -> dict:
        # ``emotion`` is the stimulus's; these are the table's other two labels.
        return {
            "expression": tfds.features.ClassLabel(names=["micro", "macro"]),
            "estimated_emotion": tfds.features.ClassLabel(names=list(ESTIMATED)),
            "self_reported_emotion": tfds.features.Text(),
        }
