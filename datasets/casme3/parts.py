"""What the parts of CAS(ME)^3 have in common."""

import re

from datasets.source.columns import Erratum

FRAME_RATE = 30  # Hz
RECORDED_SIZES = ((1280, 720),)
HOMEPAGE = "http://casme.psych.ac.cn/casme/e4"
# Folder of a clip's images in colour, next to that of its depth
COLOUR_FOLDER = "color"
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


def table_name(part: str, version: str = "") -> re.Pattern:
    """Returns a pattern for names of the table of micro-expressions of a part."""
    return re.compile(
        rf"cas[\s_(]*me[\s_)^-]*3.*part[\s_-]*{part}[\s_-]*me(?![a-z]){version}",
        re.IGNORECASE,
    )
