"""Long recordings of CAS(ME)^2, ``rawpic`` and ``rawvideo``."""

import dataclasses

from datasets.cas_me_2.cas_me_2_dataset_builder import (
    ESTIMATED_EMOTIONS,
    SPECIFICATION,
)
from datasets.source.annotations import Annotation
from datasets.source.long_recordings import LongRecordings


def _interpret(row: Annotation) -> Annotation:
    """Sets the estimated emotion, since that of the stimulus is not of the face."""
    row = SPECIFICATION.interpret(row)
    return dataclasses.replace(row, emotion=row.extra_fields["estimated_emotion"])


LONG_RECORDINGS = LongRecordings(
    specification=dataclasses.replace(
        SPECIFICATION,
        emotions=ESTIMATED_EMOTIONS,
        releases=tuple(r for r in SPECIFICATION.releases if r.full_recording),
        interpret=_interpret,
        expected_layout="""\
The folder is expected to contain, up to three folders deep:

  CAS(ME)^2code_final.xlsx         the table
  rawpic/s15/15_0101disgustingteeth/img<number>.jpg
                                   or rawvideo/s15/15_0101disgustingteeth.avi""",
    ),
    interval_type=lambda row: row.extra_fields["expression"],
    recordings=98,
    labelled=95,
    published={"micro": 57, "macro": 300},
    published_emotions={
        "micro": {"negative": 21, "others": 19, "positive": 8, "surprise": 9}
    },
)
