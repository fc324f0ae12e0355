"""TFDS builder of CAS(ME)^3, part A."""

import dataclasses
import re

import tensorflow_datasets as tfds

from datasets.builder import LocalCopyBuilder
from datasets.casme3 import parts
from datasets.source import objective_class
from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification

_EXPECTED_LAYOUT = """\
The folder is expected to contain, up to three folders deep:

  cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx    the table
  Part_A_ME_clip/
    frame/
      spNO.1_a_355/                <subject>_<clip>_<onset>
        <number>.jpg

or, for the long recordings, part_A/spNO.1/a/color/<number>.jpg."""

_RIGHT_ONSETS = {
    (erratum.subject, erratum.clip, erratum.wrong): erratum.right
    for erratum in parts.ERRATA
    if erratum.field == "onset"
}

# The folder of an expression: spNO.1_a_355
_CUT_CLIP = re.compile(r"(spno\.?\s*[0-9]+)[\s_-]+([a-z]+)[\s_-]+([0-9]+)", re.I)


def _parse_cut_clip(_: str, name: str) -> tuple[str | None, str]:
    """Returns subject and clip of ``spNO.1_a_355``: ``sub01`` and ``a_355``.

    A folder may be named after an onset that is known to be wrong.
    """
    match = _CUT_CLIP.fullmatch(name)
    if match is None:
        return None, name.casefold()
    subject, clip = canonical_subject(match[1].replace(" ", "")), match[2].casefold()
    onset = int(match[3])
    return subject, f"{clip}_{_RIGHT_ONSETS.get((subject, clip, onset), onset)}"


def _recording(clip: str) -> str:
    """Returns the recording ``a`` of the expression ``a_355``."""
    return clip.casefold().partition("_")[0]


def _interpret(row: Annotation) -> Annotation:
    """Names the clip after its onset, as its folder is, and reads the labels."""
    clip = f"{row.clip.casefold()}_{row.onset}"
    return objective_class.interpret(
        dataclasses.replace(parts.with_usual_emotion(row), clip=clip)
    )


SPECIFICATION = Specification(
    name="casme3",
    title=parts.TITLE,
    frame_rate=parts.FRAME_RATE,
    recorded_sizes=parts.RECORDED_SIZES,
    homepage=parts.HOMEPAGE,
    emotions=parts.EMOTIONS,
    columns=parts.COLUMNS,
    tables=parts.TABLES,
    releases=(
        Release(
            "Part_A_ME_clip",
            (("Part_A_ME_clip/frame",),),
            parse_folder_names=_parse_cut_clip,
            of_subjects=False,
            other_frames=parts.DEPTH,
        ),
        dataclasses.replace(parts.recordings("A"), parse_clip_name=_recording),
    ),
    expected_layout=_EXPECTED_LAYOUT,
    published_counts={"the table JpgIndex_v2": parts.COUNTS},
    interpret=_interpret,
    extra_features=objective_class.features,
    recording_of=lambda row: _recording(row.clip),
)


class Builder(LocalCopyBuilder):
    """Writes the records of CAS(ME)^3, part A, one for each row of its table."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.1.0": "Expressions with gaps in the numbers of their frames are no longer "
        "left out if half of the frames exist. Images of depth are never read.",
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
        """Returns the feature of the objective class, 0 if the table gives none."""
        return dict(objective_class.FEATURE)
