"""A user's licensed copy, opened: its table, its release, and what there is to say.

The builders and ``python -m datasets.check`` read a copy through here, so that what the
one writes is what the other reports.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from datasets.source.annotations import Annotation, LeftOut, Table, where
from datasets.source.releases import Layout, Release, choose_layout
from datasets.source.specification import CopyConfig, Facts
from datasets.source.tables import choose_tables
from meranet_jax.errors import DataError
from meranet_jax.video.frames import leads_to, numbered_frames


@dataclasses.dataclass(frozen=True)
class Copy:
    """A copy that was opened: what is in its tables and where its frames are.

    Attributes:
      facts: of its data set.
      manual_dir: where it lies.
      tables: those that are read.
      layout: the release that is read.
      crop: ``provided``, ``detect`` or ``none``.
      rows: the expressions that were asked for, each with its id.
      left_out: rows that cannot be read, and frames that no row names.
      others: how many expressions were not asked for.
      lacking: parts of the table that were not found.
      notes: what a user should know of what was chosen.
    """

    facts: Facts
    manual_dir: Path
    tables: tuple[Table, ...]
    layout: Layout
    crop: str
    rows: tuple[tuple[str, Annotation], ...]
    left_out: tuple[LeftOut, ...]
    others: int
    lacking: tuple[str, ...]
    notes: tuple[str, ...]

    def describe(self) -> dict[str, str]:
        """What was found, by a name for each."""
        return {
            "table": "; ".join(
                f"{table.path.relative_to(self.manual_dir)}, sheet {table.sheet}"
                for table in self.tables
            ),
            "release": f"{self.layout.release.name}, in "
            f"{self.layout.within(self.manual_dir)}",
            "crop": self.crop,
        }

    def fingerprint(self) -> str:
        """Tells a copy from another: by its tables, its release, and its files' sizes.

        No frame is read for it, so that it takes seconds at the most.
        """
        digest = hashlib.sha256()
        for table in self.tables:
            # What it says and not its bytes, in which programs note when they saved it.
            digest.update(repr((table.rows, table.left_out)).encode())
        digest.update(repr((self.layout.release.name, self.crop)).encode())
        for clip, source in sorted(self.layout.clips.items()):
            digest.update(repr((clip, _sizes(source))).encode())
        return digest.hexdigest()


def _sizes(source: Path) -> list[tuple[str, int]]:
    """The files of a folder, or the video itself, with their sizes in bytes."""
    try:
        if not source.is_dir():
            return [(source.name, source.stat().st_size)]
        with os.scandir(source) as entries:
            return sorted(
                (entry.name, entry.stat().st_size)
                for entry in entries
                if leads_to(entry.is_file)
            )
    except OSError:  # reported where its frames are read
        return []


def open_copy(facts: Facts, config: CopyConfig, manual_dir: Path) -> Copy:
    """Finds the tables and the release to read in a user's folder.

    Raises:
      DataError: if there is none, or the table names nothing that is asked for.
    """
    manual_dir = Path(manual_dir)
    tables, lacking, notes = choose_tables(facts, config, manual_dir)
    rows, left_out, others = [], [], 0
    for table in tables:
        left_out += table.left_out
        for row in table.rows:
            try:
                row = facts.interpret(row)
                if row.emotion not in facts.emotions:
                    raise DataError(
                        f"emotion {row.emotion!r} is none of {facts.title}'s: "
                        f"{', '.join(facts.emotions)}"
                    )
            except DataError as error:
                left_out.append(
                    LeftOut(row.table, row.number, row.subject, row.clip, str(error))
                )
                continue
            rows.append(row)
    # Over all rows, so that an id does not hang on what is asked for.
    counts = collections.Counter(_clip_of(row) for row in rows)
    ids: dict[str, Annotation] = {}
    firsts: dict[tuple, Annotation] = {}
    for row in rows:
        if not facts.chosen(row, config):
            others += 1
            continue
        clip_id = f"{row.subject}/{row.clip}"
        if counts[_clip_of(row)] > 1:
            clip_id += f"@{row.onset}"
        first = firsts.setdefault((*_clip_of(row), row.onset), row)
        if first is row:
            ids[clip_id] = row
        else:
            reason = f"{where(first, tables)} has the same subject, clip and onset"
            left_out.append(
                LeftOut(row.table, row.number, row.subject, row.clip, reason)
            )
    if not ids:
        raise DataError(nothing_left(facts, tables, left_out))
    wanted = [(row.subject, row.clip) for row in ids.values()]
    allowed = _releases(facts, config)
    layout, layout_notes = choose_layout(
        manual_dir, allowed, wanted, [r for r in facts.releases if r not in allowed]
    )
    # Of all rows, also of those that were not asked for.
    sources = collections.Counter(layout.source(row.subject, row.clip) for row in rows)
    shared = frozenset(source for source, n in sources.items() if source and n > 1)
    layout = dataclasses.replace(layout, shared=shared)
    crop = config.crop
    if crop == "auto":
        crop = "provided" if layout.release.cropped else "detect"
    left_out += _frames_without_row(layout, (*rows, *left_out))
    return Copy(
        facts=facts,
        manual_dir=manual_dir,
        tables=tuple(tables),
        layout=layout,
        crop=crop,
        rows=tuple(ids.items()),
        left_out=tuple(left_out),
        others=others,
        lacking=tuple(lacking),
        notes=(*notes, *layout_notes),
    )


def _clip_of(row: Annotation) -> tuple[str, str]:
    """The clip however its name is written: folders are found in any case too."""
    return row.subject, row.clip.casefold()


def _releases(facts: Facts, config: CopyConfig) -> list[Release]:
    """Those that the configuration allows, the preferred first.

    Raises:
      DataError: if the release does not exist or contradicts the crop.
    """
    releases = list(facts.releases)
    if config.release is not None:
        releases = [r for r in releases if r.name == config.release]
        if not releases:
            raise DataError(
                f"--release={config.release} is none of {facts.title}'s: "
                f"{', '.join(r.name for r in facts.releases)}."
            )
    if config.crop in ("provided", "detect"):
        wanted = config.crop == "provided"
        releases = [r for r in releases if r.cropped == wanted]
        if not releases:
            raise DataError(
                f"--crop={config.crop} does not go with --release={config.release}, "
                f"which is {'not ' * wanted}cropped."
            )
    elif config.crop == "none":  # the whole frame, if the copy has it
        releases.sort(key=lambda release: release.cropped)
    return releases


def _frames_without_row(layout: Layout, rows: Sequence) -> list[LeftOut]:
    named = {(row.subject, layout.release.of_clip(row.clip)) for row in rows}
    unused = []
    for (subject, clip), source in layout.clips.items():
        if (subject, clip) in named:
            continue
        reason = "frames, but no row in the table"
        try:
            if source.is_dir() and not numbered_frames(source):
                continue
        except PermissionError:
            reason = "a folder that may not be read, and no row in the table"
        unused.append(LeftOut(None, None, subject, source.stem, reason))
    doubles = [
        LeftOut(
            None,
            None,
            source.parent.name,
            source.name,
            "a second folder or video of this clip",
        )
        for source in layout.doubles
    ]
    doubles += [
        LeftOut(None, None, source.name, "", "its folder may not be read")
        for source in layout.closed
    ]
    return sorted([*unused, *doubles], key=lambda entry: (entry.subject, entry.clip))


def nothing_left(
    facts: Facts, tables: Sequence[Table], left_out: Sequence[LeftOut]
) -> str:
    """The message where no row can become a record."""
    shown = [
        f"  row {entry.row} ({entry.subject}/{entry.clip}): {entry.reason}"
        for entry in left_out[:5]
        if entry.row is not None
    ]
    return "\n".join(
        [
            f"No row of {', '.join(str(t.path) for t in tables)} can become a record.",
            *shown,
            f"Check that the table and the frames are those of {facts.title} and "
            "unpack them again.",
        ]
    )
