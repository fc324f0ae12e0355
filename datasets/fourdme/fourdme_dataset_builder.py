"""TFDS builder of the micro-expressions of 4DME, from its grey videos."""

import dataclasses
import re
from collections.abc import Iterable, Set

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source.annotations import Annotation
from datasets.source.columns import Columns
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  4DME_Labelling_Micro_release v1.xlsx    the table
  gray_micro/                             or crops of it in gray_micro_crop/
    S08/
      S08_002_01_1/
        Frame_<number>.jpg"""

# The emotions in the order in which a label of two emotions has them, and columns of
# the table, with 1 for each emotion of a clip
_EMOTIONS = ("surprise", "positive", "negative", "repression", "others")
_UNITS = range(1, 100)  # the action units of FACS


def _interpret(row: Annotation) -> Annotation:
    """Joins the emotions of a row, and its action units, to one text each.

    The columns of single emotions and action units replace an empty cell of the other
    columns, and otherwise have to agree with it.
    """
    units = {str(number): f"au{number}" for number in _UNITS}
    emotions = {emotion: emotion for emotion in _EMOTIONS}
    cells = {n: row.extra_fields.get(f, "") for n, f in (emotions | units).items()}
    contradictions = [
        f"its column of {name} has {cell!r} and not 0 or 1, and was ignored"
        for name, cell in cells.items()
        if cell not in ("", "0", "1")
    ]
    marked = [name for name, cell in cells.items() if cell == "1"]
    words = row.emotion.replace(" and ", "+")
    emotion = _joined(re.findall(r"[^\s+,;/&]+", words))
    by_columns = _joined(name for name in marked if name in emotions)
    if emotion and by_columns and emotion != by_columns:
        contradictions.append(
            f"its emotion is {emotion}, but its columns of single emotions say "
            f"{by_columns}; {emotion} was used"
        )
    action_units = "+".join(name for name in marked if name in units)
    if row.action_units:
        filled = {name for name in units if cells[name] in ("0", "1")}
        if not _agree(row.action_units, filled & set(marked), filled):
            contradictions.append(
                f"its action units are {row.action_units}, but its columns of single "
                f"units say {action_units or 'none'}; {row.action_units} was used"
            )
        action_units = row.action_units
    return dataclasses.replace(
        row,
        emotion=emotion or by_columns,
        action_units=action_units,
        contradictions=tuple(contradictions),
    )


def _joined(emotions: Iterable[str]) -> str:
    """Returns a label of emotions in a fixed order, ``surprise+positive``."""
    places = {emotion: place for place, emotion in enumerate(_EMOTIONS)}
    unknown = len(places)
    return "+".join(sorted(set(emotions), key=lambda e: (places.get(e, unknown), e)))


def _agree(text: str, marked: Set[str], filled: Set[str]) -> bool:
    """Returns whether the text of the action units agrees with their columns.

    Units that are static in the clip, such as 4 in ``AU4(k)+L7``, may have a 1 or not.

    Args:
      text: the cell of all units.
      marked: units whose column has a 1.
      filled: units whose column has a 0 or a 1.
    """
    moving = re.findall(r"[0-9]+(?![0-9]|\s*\(k)", text, re.IGNORECASE)
    written = re.findall(r"[0-9]+", text)
    return filled.intersection(moving) <= marked <= filled.intersection(written)


SPECIFICATION = Specification(
    name="fourdme",
    title="4DME",
    frame_rate=60,
    homepage="https://doi.org/10.1109/TAFFC.2022.3182342",
    emotions=(
        "negative",
        "negative+repression",
        "others",
        "positive",
        "positive+repression",
        "repression",
        "surprise",
        "surprise+negative",
        "surprise+positive",
        "surprise+repression",
    ),
    columns=Columns(
        headers={
            "subject": ("sub_ID",),
            "clip": ("fold_name",),
            "onset": ("Onset",),
            "apex": ("Apex",),
            "offset": ("Offset",),
            "emotion": ("Emotion",),
            "action_units": ("AUs",),
            "eye_blink": ("eye blink",),
            **{emotion: (emotion,) for emotion in _EMOTIONS},
            **{f"au{number}": (f"AU{number}",) for number in _UNITS},
        },
        optional=frozenset(
            {"eye_blink", "emotion", *_EMOTIONS, *(f"au{number}" for number in _UNITS)}
        ),
    ),
    tables=(
        (
            (
                "4DME_Labelling_Micro_release v1.xlsx",
                re.compile(r"^4d[\s_-]*(?:me|micro)(?!.*macro)", re.IGNORECASE),
            ),
        ),
    ),
    # Crops have the same name with a suffix, which is recognised for any release.
    releases=(Release("gray_micro", (("gray_micro", "grey_micro"),)),),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the published table": {
            "negative": 127,
            "positive": 34,
            "others": 31,
            "surprise": 29,
            "surprise+positive": 14,
            "surprise+negative": 8,
            "positive+repression": 8,
            "negative+repression": 7,
            "repression": 6,
            "surprise+repression": 3,
        }
    },
    interpret=_interpret,
    extra_features=lambda row: {"eye_blink": row.extra_fields.get("eye_blink", "")},
)


class Builder(LocalCopyBuilder):
    """Writes the records of 4DME's micro-expressions, one for each row of its table."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    SPECIFICATION = SPECIFICATION
    BUILDER_CONFIGS = [
        LocalCopyConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions

    def extra_features(self) -> dict:
        """Returns the feature of the column of eye blinks, as in the table."""
        return {"eye_blink": tfds.features.Text()}
