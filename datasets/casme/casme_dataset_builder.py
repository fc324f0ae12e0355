"""TFDS builder of CASME."""

import dataclasses
import re

import numpy as np
import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source.annotations import Annotation
from datasets.source.cells import parse_frame_number
from datasets.source.columns import Columns
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  Section A.xls, Section B.xls     the tables, or a single one: casme.xlsx, CASME.csv
  Cropped/                         or CASME_raw_selected/
    sub01/
      EP03_2/
        reg_EP03_2-<number>.jpg    or EP03_2-<number>.jpg

or, for the raw recordings, CASME_A/Section A/sub01/ and CASME_B/Section B/sub08/ with
a folder of frames or a video for each clip."""

# The two generations of the table.
_SECTIONS = "the tables of sections A and B"
_CROPPED = "the table of the cropped release"

# Misspelt emotions in the tables, with the correct spelling.
_SPELLINGS = {"comtempt": "contempt"}


def _interpret(row: Annotation) -> Annotation:
    """Corrects the spelling of the emotion and checks the second apex."""
    try:
        parse_frame_number(row.extra_fields.get("second_apex", ""))
    except ValueError as error:
        raise DataError(f"the second apex {error}") from None
    return dataclasses.replace(row, emotion=_SPELLINGS.get(row.emotion, row.emotion))


def _extra_features(row: Annotation) -> dict:
    second = parse_frame_number(row.extra_fields.get("second_apex", ""))
    return {"second_apex": -1 if second is None else second}


SPECIFICATION = Specification(
    name="casme",
    title="CASME",
    frame_rate=60,
    recorded_sizes=((1280, 720), (640, 480)),
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
        # In milliseconds
        not_frames=frozenset({"Onset", "Total"}),
    ),
    # A table with the data set's name contains both sections.
    tables=(
        (
            (
                "casme.xlsx",
                re.compile(
                    r"^casme(?![\s_^()-]*(?:v?[23]|ii|sq|me|[ab](?![a-z])))"
                    r"(?!.*section)",
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
            full_recording=True,
        ),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
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
    paper_counts={"disgust": 34, "repression": 36, "tense": 45},
    count_remarks={
        generation: {
            emotion: "the paper does not say which clips of CASME it left out; no "
            "published table gives its counts"
            for emotion in ("disgust", "repression", "tense")
        }
        for generation in (_SECTIONS, _CROPPED)
    },
    interpret=_interpret,
    extra_features=_extra_features,
)


class Builder(LocalCopyBuilder):
    """Writes the records of CASME, one for each row of its tables."""

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
        LocalCopyConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions

    def extra_features(self) -> dict:
        """Returns the feature of the second apex: its frame number, or -1 if none."""
        return {"second_apex": tfds.features.Scalar(np.int32)}
