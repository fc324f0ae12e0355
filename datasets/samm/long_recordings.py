"""SAMM Long Videos."""

import re

from datasets.samm import samm_dataset_builder
from datasets.source.annotations import Annotation
from datasets.source.cells import canonical_subject
from datasets.source.columns import Columns
from datasets.source.long_recordings import TYPES, LongRecordings, OtherNumbering
from datasets.source.releases import Release
from datasets.source.specification import Specification
from meranet_jax.errors import DataError

# 006_1. The folders of SAMM's micro-expressions have a third number.
_RECORDING = re.compile(r"([0-9]{1,3})_([0-9]+)")


def _parse_folder_names(_: str, name: str) -> tuple[str | None, str]:
    """Returns subject and name of the recording ``006_1``."""
    match = _RECORDING.fullmatch(name)
    return (canonical_subject(match[1]), name) if match else (None, name)


def _recording_of_clip(clip: str) -> str:
    """Returns the recording of the expression ``006_1_2``."""
    return "_".join(clip.strip().split("_")[:2])


def _type(row: Annotation) -> str:
    """Returns the type of ``Micro - 1/2`` or ``Macro``."""
    written = row.extra_fields["expression"]
    for kind in TYPES:
        if written.lower().startswith(kind):
            return kind
    raise DataError(f"the type {written!r} is neither micro nor macro")


LONG_RECORDINGS = LongRecordings(
    specification=Specification(
        name="samm",
        title="SAMM Long Videos",
        frame_rate=200,
        homepage="http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
        emotions=(),
        columns=Columns(
            headers={
                "subject": ("Subject",),
                "clip": ("Filename",),
                "onset": ("Onset",),
                "apex": ("Apex",),
                "offset": ("Offset",),
                "expression": ("Type",),
                "action_units": ("Action Units",),
            }
        ),
        tables=tuple(
            (
                (
                    f"SAMM_LongVideos_V{version}_Release.xlsx",
                    re.compile(
                        rf"samm.*long[\s_-]*videos.*v{version}(?![0-9])", re.IGNORECASE
                    ),
                ),
            )
            for version in (3, 2, 1)
        ),
        releases=(
            Release(
                "SAMM_longvideos",
                (("SAMM_longvideos", "SAMM Long Videos"),),
                full_recording=True,
                of_subjects=False,
                parse_folder_names=_parse_folder_names,
                parse_clip_name=_recording_of_clip,
            ),
        ),
        expected_layout="""\
The folder is expected to contain, up to three folders deep:

  SAMM_LongVideos_V3_Release.xlsx  the table, or that of another version
  SAMM_longvideos/006_1/006_1_<number>.jpg""",
    ),
    interval_type=_type,
    recordings=147,
    published={"micro": 159, "macro": 343},
    other_numbering=OtherNumbering(
        samm_dataset_builder.SPECIFICATION,
        "the frame numbers of published recordings restart: in 43 of the 79 with "
        "micro-expressions they are not those of SAMM's table of micro-expressions; "
        "put that into the folder, too, to see which",
    ),
)
