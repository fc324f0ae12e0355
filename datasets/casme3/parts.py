"""What the clips, the long recordings and the parts of CAS(ME)^3 have in common.

What names no part is that of all parts, except the title, the emotions and the table,
which are those of part A.
"""

import dataclasses
import re

from datasets.source import objective_class
from datasets.source.annotations import Annotation
from datasets.source.columns import Columns, Erratum
from datasets.source.releases import Release

TITLE = "CAS(ME)^3, part A"
FRAME_RATE = 30  # Hz
RECORDED_SIZES = ((1280, 720),)
HOMEPAGE = "http://casme.psych.ac.cn/casme/e4"
EMOTIONS = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "others",
    "sadness",
    "surprise",
)
# Published numbers of the micro-expressions of part A
COUNTS = {
    "disgust": 250,
    "surprise": 187,
    "others": 161,
    "fear": 86,
    "anger": 64,
    "sadness": 57,
    "happiness": 55,
}
# In names of folders of depth images
DEPTH = re.compile("depth", re.IGNORECASE)

_SOURCE = "the authors' table v2.xls"
# Known errors of the table of part A
ERRATA = (
    Erratum("sub149", "d", 112, "apex", 83, 160, _SOURCE),
    Erratum("sub216", "d", 3647, "onset", 3647, 2647, _SOURCE),
    Erratum("sub40", "e", 1812, "offset", None, 1845, _SOURCE),
    Erratum("sub40", "e", 2327, "offset", None, 2403, _SOURCE),
    Erratum("sub216", "e", 0, "onset", 0, 1, "there is no 0.jpg"),
    Erratum("sub216", "e", 0, "apex", 0, 1, "there is no 0.jpg"),
)

# Names of emotions in the table of part A that other data sets spell in another way
_SPELLINGS = {"sad": "sadness", "happy": "happiness", "other": "others"}

COLUMNS = Columns(
    headers={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("Onset",),
        "apex": ("Apex",),
        "offset": ("Offset",),
        "action_units": ("AU",),
        objective_class.FIELD: objective_class.HEADERS,
        "emotion": ("emotion",),
    },
    optional=frozenset({objective_class.FIELD}),
    zero_is_missing=frozenset({"offset"}),
    errata=ERRATA,
)


def table_name(part: str, version: str = "") -> re.Pattern:
    """Returns a pattern for names of the table of micro-expressions of a part.

    Those of the tables of macro-expressions have MaE.
    """
    return re.compile(rf"part[\s_-]*{part}[\s_-]*me(?![a-z]){version}", re.IGNORECASE)


# The numbers of frames are those of the table named JpgIndex.
TABLES = tuple(
    ((name, table_name("a", version)),)
    for name, version in (
        ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", ".*jpg.*v2"),
        ("cas(me)3_part_A_ME_label_JpgIndex.xlsx", ".*jpg"),
        ("cas(me)3_part_A_ME_label_v2.xlsx", ".*v2"),
        ("cas(me)3_part_A_ME_label.xlsx", ""),
    )
)


def with_usual_emotion(row: Annotation) -> Annotation:
    """Returns a row of part A with the emotion as other data sets spell it."""
    emotion = _SPELLINGS.get(row.emotion, row.emotion)
    return dataclasses.replace(row, emotion=emotion)


def recordings(part: str) -> Release:
    """Returns the release of the long recordings of a part."""
    name = f"part_{part}"
    return Release(
        name,
        ((name, f"CAS(ME)^3_{name}", f"CASME3_{name}"),),
        full_recording=True,
        # In the folder of a clip, next to that of its depth
        frames_folder="color",
        other_frames=DEPTH,
    )
