"""Long recordings of CAS(ME)^3, part A."""

from datasets.casme3 import parts
from datasets.source.long_recordings import LongRecordings
from datasets.source.specification import Specification

LONG_RECORDINGS = LongRecordings(
    specification=Specification(
        name="casme3",
        title=parts.TITLE,
        frame_rate=parts.FRAME_RATE,
        recorded_sizes=parts.RECORDED_SIZES,
        homepage=parts.HOMEPAGE,
        emotions=parts.EMOTIONS,
        columns=parts.COLUMNS,
        tables=parts.TABLES,
        releases=(parts.recordings("A"),),
        expected_layout="""\
The folder is expected to contain, up to three folders deep:

  cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx  the table of micro-expressions
  part_A/spNO.1/a/color/<number>.jpg""",
        interpret=parts.with_usual_emotion,
    ),
    published={"micro": 860},
    published_emotions={"micro": parts.COUNTS},
    remarks=(
        "this table of part A has micro-expressions only; the numbers of frames have "
        "gaps",
    ),
)
