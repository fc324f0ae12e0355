"""TFDS builder of MMEW."""

import dataclasses
import re

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.columns import Columns
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  MMEW_Micro_Exp.xlsx              the table
  Micro_Expression/
    happiness/                     any folders, such as of emotions or subjects
      S01-01-001/
        <number>.jpg               from 1"""

# Subject, emotion and sample: S01-01-001
_CLIP = re.compile(r"(S[0-9]+)-[0-9]+-[0-9]+.*", re.IGNORECASE)

# The authors call these expressions "others" in the table and "repression" in the names
# of folders.
_SPELLINGS = {"repression": "others"}


def _parse_folder_names(subject: str, clip: str) -> tuple[str | None, str]:
    """Returns the subject and the name of ``S01-01-001``; there are no others."""
    match = _CLIP.fullmatch(clip)
    return canonical_subject(match[1]) if match else None, clip.casefold()


def _interpret(row: Annotation) -> Annotation:
    """Sets the table's label of expressions that some copies call repression."""
    return dataclasses.replace(row, emotion=_SPELLINGS.get(row.emotion, row.emotion))


SPECIFICATION = Specification(
    name="mmew",
    title="MMEW",
    frame_rate=90,
    homepage="http://www.dpailab.com/database.html",
    emotions=(
        "anger",
        "disgust",
        "fear",
        "happiness",
        "others",
        "sadness",
        "surprise",
    ),
    columns=Columns(
        headers={
            "subject": ("Subject",),
            "clip": ("Filename",),
            "onset": ("OnsetFrame",),
            "apex": ("ApexFrame",),
            "offset": ("OffsetFrame",),
            "action_units": ("Action Units",),
            "emotion": ("Estimated Emotion",),
            "remarks": ("remarks",),
        },
        optional=frozenset({"remarks"}),
    ),
    tables=(
        (("MMEW_Micro_Exp.xlsx", re.compile(r"^mmew(?!.*macro)", re.IGNORECASE)),),
    ),
    releases=(
        Release(
            "Micro_Expression",
            (("Micro_Expression", "Micro_Expressions"),),
            cropped=True,
            of_subjects=False,
            parse_folder_names=_parse_folder_names,
            # Apex and offset of 16 clips of the subjects 4 and 13 are wrong.
            ends_at_offset=True,
        ),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the published table": {
            "surprise": 89,
            "disgust": 72,
            "others": 66,
            "happiness": 36,
            "fear": 16,
            "sadness": 13,
            "anger": 8,
        }
    },
    interpret=_interpret,
    extra_features=lambda row: {"remarks": row.extra_fields.get("remarks", "")},
)


class Builder(LocalCopyBuilder):
    """Writes the records of MMEW's micro-expressions, one for each row of its table."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.1.0": "The last file is the offset also where the table's offset lies "
        "before it.",
        "1.0.0": "First release.",
    }
    SPECIFICATION = SPECIFICATION
    BUILDER_CONFIGS = [
        LocalCopyConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions

    def extra_features(self) -> dict:
        """Returns the feature of the remarks in the table."""
        return {"remarks": tfds.features.Text()}
