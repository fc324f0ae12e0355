"""CASME II: the user's copy becomes records, or says why it cannot."""

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from datasets.annotations import (
    Annotation,
    LeftOut,
    Table,
    find_tables,
    read_table,
)
from datasets.clips import ClipConfig, record_features, window_numbers
from datasets.errors import DataError
from datasets.frames import (
    Layout,
    choose_layout,
    numbered_frames,
    read_clip,
    recording,
)

EMOTIONS = (
    "disgust",
    "fear",
    "happiness",
    "others",
    "repression",
    "sadness",
    "surprise",
)

_TABLE_NAME = re.compile(r"casme[\s_-]*(2|ii)[\s_-]*coding", re.IGNORECASE)

# Its surprise and sadness are those that the paper counts (28 clips of surprise).
_PREFERRED_TABLE = "20190701"

_HEADERS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "OnsetFrame",
    "apex": "ApexFrame",
    "offset": "OffsetFrame",
    "action_units": "Action Units",
    "emotion": "Estimated Emotion",
}

# The preferred first: aligned faces, then what is read fastest.
_LAYOUTS = {
    "Cropped": ("Cropped", "Cropped-updated"),
    "CASME2_RAW_selected": ("CASME2_RAW_selected",),
    "CASME2-RAW": ("CASME2-RAW",),
}

_EXPECTED = """\
The folder is expected to hold, up to three folders deep:

  CASME2-coding-20190701.xlsx      the table
  Cropped/                         or CASME2_RAW_selected/ or CASME2-RAW/
    sub01/
      EP01_1/
        reg_img<number>.jpg        or img<number>.jpg
"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Records of CASME II, a clip around the apex for each row of its table."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        ClipConfig(
            name="apex32-16x112",
            description="Every second frame of the 32 around the apex, 112x112 RGB.",
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
CASME II is licensed: apply for it at http://casme.psych.ac.cn/casme/e2, sign the
agreement, then download the table and the cropped frames (or the raw ones), unpack
the archives into one folder and give that folder:

  python -m datasets.prepare casme2 --manual_dir=FOLDER

{_EXPECTED}"""

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            homepage="http://casme.psych.ac.cn/casme/e2",
            features=record_features(
                self.builder_config, EMOTIONS, action_units=tfds.features.Text()
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        manual_dir = Path(dl_manager.manual_dir)
        table, table_notes = _choose_table(manual_dir)
        layout, layout_notes = choose_layout(
            manual_dir, _LAYOUTS, [(row.subject, row.clip) for row in table.rows]
        )
        self.info.metadata.update(
            table=f"{table.path.relative_to(manual_dir)}, sheet {table.sheet}",
            layout=f"{layout.name}, in {layout.root.relative_to(manual_dir)}",
            notes=[*table_notes, *layout_notes],
        )
        return {"train": self._generate_examples(table, layout)}

    def _generate_examples(
        self, table: Table, layout: Layout
    ) -> Iterator[tuple[str, dict]]:
        left_out = [*table.left_out, *_folders_without_row(table, layout)]
        clips = collections.Counter((row.subject, row.clip) for row in table.rows)
        keys = {}
        for row in track(
            table.rows, description="Reading clips", console=Console(stderr=True)
        ):
            clip_id = f"{row.subject}/{row.clip}"
            if clips[row.subject, row.clip] > 1:
                clip_id += f"@{row.onset}"
            try:
                if clip_id in keys:
                    raise DataError(
                        f"row {keys[clip_id]} has the same subject, clip and onset"
                    )
                example, notes = _example(row, layout, self.builder_config)
            except DataError as error:
                left_out.append(LeftOut(row.number, row.subject, row.clip, str(error)))
                continue
            keys[clip_id] = row.number
            self.info.metadata["notes"] += [
                f"row {row.number} ({clip_id}): {note}" for note in notes
            ]
            yield clip_id, {"clip_id": clip_id, **example}
        # By row; folders without one, already sorted, at the end.
        left_out.sort(key=lambda entry: (entry.row is None, entry.row or 0))
        if not keys:
            raise DataError(_nothing_left(table, left_out))
        self.info.metadata["left_out"] = [dataclasses.asdict(e) for e in left_out]


def _choose_table(manual_dir: Path) -> tuple[Table, list[str]]:
    """The table to take and what a user should know of the choice."""
    found = find_tables(manual_dir)
    tables = [path for path in found if _TABLE_NAME.search(path.name)]
    if not tables:
        raise DataError(
            f"No table of CASME II was found in {manual_dir}; its name begins with "
            f"CASME2-coding.\nTables of other names: "
            f"{', '.join(str(p.relative_to(manual_dir)) for p in found) or 'none'}.\n"
            f"{_EXPECTED}"
        )
    path = min(
        tables,
        key=lambda path: (
            _PREFERRED_TABLE not in path.name,
            "updated" not in path.name,
        ),
    )
    notes = []
    if others := [str(t.relative_to(manual_dir)) for t in tables if t != path]:
        notes.append(
            f"of several tables {path.relative_to(manual_dir)} was taken, not "
            + ", ".join(others)
        )
    if _PREFERRED_TABLE not in path.name:
        notes.append(
            f"the paper's counts are those of the table dated {_PREFERRED_TABLE}; "
            f"{path.name} may name other emotions"
        )
    table = read_table(path, _HEADERS)
    if not table.rows:
        raise DataError(_nothing_left(table, table.left_out))
    return table, notes


def _example(
    row: Annotation, layout: Layout, config: ClipConfig
) -> tuple[dict[str, object], list[str]]:
    """A record, less its id, and what a user should know of it."""
    if row.emotion not in EMOTIONS:
        raise DataError(
            f"emotion {row.emotion!r} is none of CASME II's: {', '.join(EMOTIONS)}"
        )
    estimated = row.apex is None
    apex = (row.onset + row.offset) // 2 if estimated else row.apex
    if not row.onset <= apex <= row.offset:
        raise DataError(
            f"the apex {apex} lies outside of onset {row.onset} to offset {row.offset}"
        )
    folder = layout.folder(row.subject, row.clip)
    if folder is None:
        raise DataError(f"there is no folder for it in {layout.name}")
    found = recording(folder, row.onset, row.offset)
    if not found.first <= apex <= found.last:
        raise DataError(
            f"its frames {found.first} to {found.last} do not reach the apex {apex}"
        )
    numbers = window_numbers(
        apex, found.first, found.last, window=config.window, frames=config.frames
    )
    example = {
        "clip": read_clip(found.frames, numbers.tolist(), config.size),
        "subject": row.subject,
        "emotion": row.emotion,
        "onset": row.onset,
        "apex": apex,
        "offset": row.offset,
        "apex_estimated": estimated,
        "action_units": row.action_units,
    }
    notes = []
    if estimated:
        notes.append(f"no apex is given; {apex}, the middle, was taken")
    if found.renumbered:
        notes.append(
            f"its {len(found.frames)} files count from 1, not from the onset; the "
            f"first was taken as frame {row.onset}"
        )
    if found.first > row.onset or found.last < row.offset:
        notes.append(
            f"frames {found.first} to {found.last} are there, onset to offset is "
            f"{row.onset} to {row.offset}"
        )
    return example, notes


def _folders_without_row(table: Table, layout: Layout) -> list[LeftOut]:
    named = {
        (entry.subject, entry.clip.casefold())
        for entry in (*table.rows, *table.left_out)
    }
    unused = [
        LeftOut(None, subject, folder.name, "frames, but no row in the table")
        for (subject, clip), folder in layout.clips.items()
        if (subject, clip) not in named and numbered_frames(folder)
    ]
    doubles = [
        LeftOut(None, folder.parent.name, folder.name, "a second folder of this clip")
        for folder in layout.doubles
    ]
    return [*unused, *doubles]


def _nothing_left(table: Table, left_out: Sequence[LeftOut]) -> str:
    shown = [
        f"  row {entry.row} ({entry.subject}/{entry.clip}): {entry.reason}"
        for entry in left_out[:5]
        if entry.row is not None
    ]
    return "\n".join(
        [
            f"No row of {table.path} can become a record.",
            *shown,
            "Check that the table and the frames are those of CASME II and unpack them "
            "again.",
        ]
    )
