"""TFDS builder of CAS(ME)^3, part C."""

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.casme3 import parts
from datasets.source.columns import Columns
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  CAS(ME)3_part_C_ME.xlsx          the table
  part_C/
    01/
      a/
        color/
          <number>.jpg"""

SPECIFICATION = Specification(
    name="casme3_c",
    title="CAS(ME)^3, part C",
    frame_rate=parts.FRAME_RATE,
    recorded_sizes=parts.RECORDED_SIZES,
    homepage=parts.HOMEPAGE,
    emotions=("negative", "others", "positive", "surprise"),
    columns=Columns(
        # The table gives neither the clip, of which each subject has one, nor the apex.
        headers={
            "subject": ("sub",),
            "onset": ("onset",),
            "offset": ("offset",),
            "action_units": ("au",),
            "emotion": ("emotion",),
        },
        only_clip="a",
    ),
    tables=((("CAS(ME)3_part_C_ME.xlsx", parts.table_name("c")),),),
    releases=(parts.recordings("C"),),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={
        "the table part_C_ME": {
            "negative": 99,
            "surprise": 30,
            "others": 20,
            "positive": 16,
        }
    },
)


class Builder(LocalCopyBuilder):
    """Writes the records of CAS(ME)^3, part C, one for each row of its table."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    SPECIFICATION = SPECIFICATION
    BUILDER_CONFIGS = [
        LocalCopyConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the middle, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = SPECIFICATION.instructions
