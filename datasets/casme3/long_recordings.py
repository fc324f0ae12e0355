"""Long recordings of CAS(ME)^3, part A."""

import re

from datasets.source.columns import Columns, Erratum
from datasets.source.long_recordings import LongRecordings
from datasets.source.releases import Release
from datasets.source.specification import Specification

_V2 = "the authors' table v2.xls"
_ERRATA = tuple(
    Erratum(f"sub{subject}", clip, onset, field, wrong, right, source)
    for subject, clip, onset, field, wrong, right, source in (
        (149, "d", 112, "apex", 83, 160, _V2),
        (216, "d", 3647, "onset", 3647, 2647, _V2),
        (40, "e", 1812, "offset", None, 1845, _V2),
        (40, "e", 2327, "offset", None, 2403, _V2),
        (216, "e", 0, "onset", 0, 1, "the first frame is 1.jpg"),
        (216, "e", 0, "apex", 0, 1, "the first frame is 1.jpg"),
    )
)

LONG_RECORDINGS = LongRecordings(
    specification=Specification(
        name="casme3",
        title="CAS(ME)^3 part A",
        frame_rate=30,
        recorded_sizes=((1280, 720),),
        homepage="http://casme.psych.ac.cn/casme/e4",
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
            errata=_ERRATA,
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
                frames_folder="color",
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
