"""TFDS builder of SAMM."""

import dataclasses
import re

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source import objective_class
from datasets.source.annotations import Annotation
from datasets.source.columns import Columns, Erratum
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  SAMM_Micro_FACS_Codes_v2.xlsx    the table
  SAMM_CROP/                       or SAMM/
    006/
      006_1_2/
        006_<number>.jpg"""

# The table writes "Other"; the label is that of the other data sets.
_SPELLINGS = {"other": "others"}


def _interpret(row: Annotation) -> Annotation:
    """Sets the label of other emotions and the objective class."""
    emotion = _SPELLINGS.get(row.emotion, row.emotion)
    return objective_class.interpret(dataclasses.replace(row, emotion=emotion))


def _extra_features(row: Annotation) -> dict:
    return {
        **objective_class.features(row),
        "inducement_code": row.extra_fields.get("inducement_code", ""),
        "notes": row.extra_fields.get("notes", ""),
    }


SPECIFICATION = Specification(
    name="samm",
    title="SAMM",
    frame_rate=200,
    recorded_sizes=((960, 650),),
    homepage="http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
    emotions=(
        "anger",
        "contempt",
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
            "inducement_code": ("Inducement Code",),
            "onset": ("Onset Frame",),
            "apex": ("Apex Frame",),
            "offset": ("Offset Frame",),
            "action_units": ("Action Units",),
            "emotion": ("Estimated Emotion",),
            objective_class.FIELD: objective_class.HEADERS,
            "notes": ("Notes",),
        },
        optional=frozenset({"inducement_code", objective_class.FIELD, "notes"}),
        errata=(
            Erratum(
                subject="sub28",
                clip="028_4_1",
                onset=1071,
                field="apex",
                wrong=1143,
                right=1113,
                source="1143 lies after the offset 1134; other copies of the table "
                "have 1113",
            ),
            Erratum(
                subject="sub32",
                clip="032_3_1",
                onset=4896,
                field="apex",
                wrong=1930,
                right=4930,
                source="1930 lies before the onset; other copies of the table have "
                "4930",
            ),
        ),
    ),
    # The tables of SAMM Long Videos have other columns and another numbering.
    tables=tuple(
        (
            (
                "SAMM_Micro_FACS_Codes_v2.xlsx",
                re.compile(
                    rf"samm(?!.*long).*(?:micro|facs|codes){rest}", re.IGNORECASE
                ),
            ),
        )
        for rest in (r".*v2", "")
    ),
    releases=(
        Release("SAMM_CROP", (("SAMM_CROP", "SAMM_cropped"),), cropped=True),
        # People name the folder of all releases SAMM, too.
        Release("SAMM", (("SAMM",),), direct=True),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the published table": {
            "anger": 57,
            "happiness": 26,
            "others": 26,
            "surprise": 15,
            "contempt": 12,
            "disgust": 9,
            "fear": 8,
            "sadness": 6,
        }
    },
    interpret=_interpret,
    extra_features=_extra_features,
)


class Builder(LocalCopyBuilder):
    """Writes the records of SAMM, one for each row of its table."""

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
        """Returns the features of the other columns of the table."""
        return {
            **objective_class.FEATURE,
            "inducement_code": tfds.features.Text(),
            "notes": tfds.features.Text(),
        }
