"""CASME: where a copy of it keeps what, and what its tables name."""

import dataclasses
import re

import numpy as np
import tensorflow_datasets as tfds

from datasets.builder import CopyBuilder
from datasets.source.annotations import Annotation, Columns, frame_number
from datasets.source.releases import Release
from datasets.source.specification import CopyConfig, Facts
from meranet_jax.errors import DataError

_EXPECTED = """\
The folder is expected to hold, up to three folders deep:

  Section A.xls, Section B.xls     the tables, or one of both: casme.xlsx, CASME.csv
  Cropped/                         or CASME_raw_selected/
    sub01/
      EP03_2/
        reg_EP03_2-<number>.jpg    or EP03_2-<number>.jpg

or, for the raw recordings, CASME_A/Section A/sub01/ and CASME_B/Section B/sub08/ with
a folder of frames or a video for each clip."""

# The two generations of the table.
_SECTIONS = "the tables of sections A and B"
_CROPPED = "the table of the cropped release"

# As the tables spell it.
_SPELLINGS = {"comtempt": "contempt"}


def _interpret(row: Annotation) -> Annotation:
    """The row with its emotion spelt right and its second apex checked."""
    try:
        frame_number(row.beside.get("second_apex", ""))
    except ValueError as error:
        raise DataError(f"the second apex {error}") from None
    return dataclasses.replace(row, emotion=_SPELLINGS.get(row.emotion, row.emotion))


def _beside(row: Annotation) -> dict:
    second = frame_number(row.beside.get("second_apex", ""))
    return {"second_apex": -1 if second is None else second}


FACTS = Facts(
    name="casme",
    title="CASME",
    homepage="http://casme.psych.ac.cn/casme/e1",
    emotions=(
        "contempt",
        "disgust",
        "fear",
        "happiness",
        "repression",
        "sadness",
        "surprise",
        "tense",
    ),
    columns=Columns(
        headers={
            "subject": ("Subject",),
            "clip": ("Filename",),
            "onset": ("OnsetF",),
            "apex": ("ApexF1", "ApexF"),
            "second_apex": ("ApexF2",),
            "offset": ("OffsetF",),
            "action_units": ("AU", "Action Units"),
            "emotion": ("Emotion", "Estimated Emotion"),
        },
        optional=frozenset({"second_apex"}),
    ),
    # A table that a user keeps under the data set's name is of one piece.
    tables=(
        (
            (
                "casme.xlsx",
                re.compile(
                    r"^casme(?![\s_-]*(?:2|3|ii|sq|[ab](?![a-z])))(?!.*section)",
                    re.IGNORECASE,
                ),
            ),
        ),
        tuple(
            (
                f"Section {part}.xls",
                re.compile(rf"(?:section|casme)[\s_-]*{part}(?![a-z])", re.IGNORECASE),
            )
            for part in "AB"
        ),
    ),
    releases=(
        Release("Cropped", (("Cropped",),), cropped=True),
        Release("CASME_raw_selected", (("CASME_raw_selected", "raw_selected"),)),
        Release(
            "raw",
            (("Section A", "CASME_A"), ("Section B", "CASME_B")),
            whole=True,
        ),
    ),
    expected=_EXPECTED,
    published={
        _SECTIONS: {
            "tense": 71,
            "disgust": 46,
            "repression": 40,
            "surprise": 21,
            "happiness": 9,
            "sadness": 6,
            "contempt": 2,
            "fear": 2,
        },
        _CROPPED: {
            "tense": 71,
            "repression": 43,
            "disgust": 42,
            "surprise": 19,
            "happiness": 10,
            "sadness": 5,
            "fear": 2,
            "contempt": 1,
        },
    },
    paper={"disgust": 34, "repression": 36, "tense": 45},
    remarks={
        generation: {
            emotion: "the paper does not say which clips of CASME it left out; no "
            "published table gives its counts"
            for emotion in ("disgust", "repression", "tense")
        }
        for generation in (_SECTIONS, _CROPPED)
    },
    interpret=_interpret,
    beside=_beside,
)


class Builder(CopyBuilder):
    """Records of CASME, a clip for each row of its tables."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    FACTS = FACTS
    BUILDER_CONFIGS = [
        CopyConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = FACTS.instructions

    def features(self) -> dict:
        # Number of the second apex frame that some rows name, else -1.
        return {"second_apex": tfds.features.Scalar(np.int32)}
