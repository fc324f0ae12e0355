"""Long recordings of CAS(ME)^3, part A."""

import re

from datasets.casme3 import parts
from datasets.source.columns import Columns
from datasets.source.long_recordings import LongRecordings
from datasets.source.releases import Release
from datasets.source.specification import Specification

LONG_RECORDINGS = LongRecordings(
    specification=Specification(
        name="casme3",
        title="CAS(ME)^3 part A",
        frame_rate=parts.FRAME_RATE,
        recorded_sizes=parts.RECORDED_SIZES,
        homepage=parts.HOMEPAGE,
        emotions=("anger", "disgust", "fear", "happy", "others", "sad", "surprise"),
        columns=Columns(
            headers={
                "subject": ("Subject",),
                "clip": ("Filename",),
                "onset": ("Onset",),
                "apex": ("Apex",),
                "offset": ("Offset",),
                "action_units": ("AU",),
                "emotion": ("emotion",),
            },
            zero_is_missing=frozenset({"offset"}),
            errata=parts.ERRATA,
        ),
        # The tables of micro-expressions: those of macro-expressions are named MaE.
        tables=tuple(
            ((name, re.compile(rf"part[\s_-]*a[\s_-]+me{rest}", re.IGNORECASE)),)
            for name, rest in (
                ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", r"[\s_-].*jpg.*v2"),
                ("cas(me)3_part_A_ME_label_JpgIndex.xlsx", r"[\s_-].*jpg"),
                ("cas(me)3_part_A_ME_label.xlsx", r"(?![a-z])"),
            )
        ),
        releases=(
            Release(
                "part_A",
                (("part_A", "CAS(ME)^3_part_A", "CASME3_part_A"),),
                full_recording=True,
                frames_folder=parts.COLOUR_FOLDER,
            ),
        ),
        expected_layout="""\
The folder is expected to contain, up to three folders deep:

  cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx  the table of micro-expressions
  part_A/spNO.1/a/color/<number>.jpg""",
    ),
    published={"micro": 860},
    published_emotions={
        "micro": {
            "disgust": 250,
            "surprise": 187,
            "others": 161,
            "fear": 86,
            "anger": 64,
            "sad": 57,
            "happy": 55,
        }
    },
    remarks=(
        "this table of part A has micro-expressions only; the numbers of frames have "
        "gaps",
    ),
)
