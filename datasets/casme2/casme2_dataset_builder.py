"""TFDS builder of CASME II."""

import re

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.source import objective_class
from datasets.source.columns import Columns
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  CASME2-coding-20190701.xlsx      the table
  Cropped/                         or CASME2_RAW_selected/ or CASME2-RAW/
    sub01/
      EP01_1/
        reg_img<number>.jpg        or img<number>.jpg"""

SPECIFICATION = Specification(
    name="casme2",
    title="CASME II",
    frame_rate=200,
    recorded_sizes=((640, 480),),
    homepage="http://casme.psych.ac.cn/casme/e2",
    emotions=(
        "disgust",
        "fear",
        "happiness",
        "others",
        "repression",
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
            objective_class.FIELD: objective_class.HEADERS,
        },
        # The tables of 2014 and 2019 have no column of objective classes; others have.
        optional=frozenset({objective_class.FIELD}),
    ),
    # The table of 2019 first, since its counts of surprise and sadness are the paper's.
    tables=tuple(
        (
            (
                "CASME2-coding",
                re.compile(rf"casme[\s_-]*(?:2|ii)[\s_-]*coding{rest}", re.IGNORECASE),
            ),
        )
        for rest in (".*20190701", ".*updated", "")
    ),
    releases=(
        Release("Cropped", (("Cropped", "Cropped-updated"),), cropped=True),
        Release("CASME2_RAW_selected", (("CASME2_RAW_selected",),)),
        Release("CASME2-RAW", (("CASME2-RAW",),), full_recording=True),
        Release(
            "CASME2_Compressed",
            (("CASME2_Compressed video", "CASME2_compressed"),),
            full_recording=True,
        ),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the table dated 20190701": {
            "others": 99,
            "disgust": 63,
            "happiness": 32,
            "surprise": 28,
            "repression": 27,
            "sadness": 4,
            "fear": 2,
        },
        "the table dated 20140508": {
            "others": 99,
            "disgust": 63,
            "happiness": 32,
            "repression": 27,
            "surprise": 25,
            "sadness": 7,
            "fear": 2,
        },
    },
    paper_counts={"disgust": 63, "happiness": 32, "surprise": 28},
    count_remarks={
        "the table dated 20140508": {
            "surprise": "this table labels three of the paper's 28 as sadness; use "
            "CASME2-coding-20190701.xlsx"
        }
    },
    interpret=objective_class.interpret,
    extra_features=objective_class.features,
)


class Builder(LocalCopyBuilder):
    """Writes the records of CASME II, one for each row of its table."""

    VERSION = tfds.core.Version("2.3.0")
    RELEASE_NOTES = {
        "2.3.0": "The objective class.",
        "2.2.0": "The frame rate. Images of 16 bits, rotated images and videos, "
        "damaged JPEGs and videos, and frames of several sizes are no longer changed "
        "or accepted silently.",
        "2.1.0": "The frames at onset and apex.",
        "2.0.0": "Exact area averaging; faces found in raw frames; offset_estimated.",
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
        """Returns the feature of the objective class."""
        return dict(objective_class.FEATURE)
