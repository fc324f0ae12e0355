"""What the parts of CAS(ME)^3 have in common."""

import re

FRAME_RATE = 30  # Hz
RECORDED_SIZES = ((1280, 720),)
HOMEPAGE = "http://casme.psych.ac.cn/casme/e4"
# Folder of a clip's images in colour, next to that of its depth
COLOUR_FOLDER = "color"
# In names of folders of depth images
DEPTH = re.compile("depth", re.IGNORECASE)


def table_name(part: str, version: str = "") -> re.Pattern:
    """Returns a pattern for names of the table of micro-expressions of a part."""
    return re.compile(
        rf"cas[\s_(]*me[\s_)^-]*3.*part[\s_-]*{part}[\s_-]*me(?![a-z]){version}",
        re.IGNORECASE,
    )
