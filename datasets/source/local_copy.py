"""A user's local copy of a licensed data set: its tables, its release and its rows.

Both the builders and ``python -m datasets.check`` open a copy with this module, so the
check reports exactly what the builders would write.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datasets.source.annotations import (
    Annotation,
    LeftOut,
    Table,
    entry_label,
    of_folders,
    row_label,
)
from datasets.source.folder_rows import (
    folders_of_no_subject,
    renumbered,
    rows_of_folders,
)
from datasets.source.folders import shown, without_suffix
from datasets.source.release_choice import check_options, choose_release
from datasets.source.releases import LocalRelease
from datasets.source.specification import LocalCopyConfig, Specification
from datasets.source.tables import choose_tables
from meranet_jax.errors import DataError
from meranet_jax.video.frames import false_on_os_error, numbered_frames

_SECOND = "a second folder or video of this clip"


@dataclasses.dataclass(frozen=True)
class LocalCopy:
    """The rows and frames of a data set that were found in a user's folder.

    Attributes:
      specification: specification of the data set.
      manual_dir: the user's folder.
      tables: the tables that were read.
      release: the release that is read.
      crop: ``provided``, ``detect`` or ``none``.
      rows: the selected expressions, each with its clip id.
      left_out: rows that cannot be read, and frames without a row.
      not_selected: number of expressions that the configuration does not select.
      missing_tables: names of parts of the table that were not found.
      notes: notes for the user on the choice of table and release.
      without_apexes: a sentence on each table that gives no apex, although the tables
        of the data set do.
    """

    specification: Specification
    manual_dir: Path
    tables: tuple[Table, ...]
    release: LocalRelease
    crop: str
    rows: tuple[tuple[str, Annotation], ...]
    left_out: tuple[LeftOut, ...]
    not_selected: int
    missing_tables: tuple[str, ...]
    notes: tuple[str, ...]
    without_apexes: tuple[str, ...] = ()

    def describe(self) -> dict[str, str]:
        """Returns descriptions of the table, the release and the crop, for metadata."""
        return {
            "table": describe_tables(self.tables, self.manual_dir),
            "release": self.release.describe(self.manual_dir),
            "crop": self.crop,
        }

    def check_apexes(self) -> None:
        """Checks that the tables give apexes if those of the data set do.

        Raises:
          DataError: if one does not, with what to do.
        """
        if self.without_apexes:
            title = self.specification.title
            header = self.specification.columns.headers["apex"][0]
            raise DataError(
                "\n".join(
                    [
                        f"The apexes of {title} are lost:",
                        *(f"  {sentence}." for sentence in self.without_apexes),
                        f"Call the column of the apexes {header}, or use the table "
                        "that came with the data set. To prepare estimates instead, "
                        "which are not the apexes of publications, choose "
                        "--apex=middle or --apex=spotted.",
                    ]
                )
            )

    def fingerprint(self) -> str:
        """Returns a hash of the tables' rows, the release, and file names and sizes.

        No frame is read, so this takes seconds at most. Records store the fingerprint
        of the copy they were prepared from, so it must not change between versions.
        """
        digest = hashlib.sha256()
        for table in self.tables:
            # The contents and not the bytes, which contain the time of saving.
            contents = repr((table.rows, table.left_out))
            # The field had the name ``beside`` when the first records were written.
            contents = contents.replace(", extra_fields={", ", beside={")
            digest.update(contents.encode())
        digest.update(repr((self.release.release.name, self.crop)).encode())
        aside = {key: path for key, (path, _) in self.release.no_expressions.items()}
        for clip, source in sorted((aside | dict(self.release.clips)).items()):
            digest.update(repr((clip, _file_sizes(source))).encode())
        known = set(self.release.clips.values())
        for clip, source in sorted(self.release.aliases.items()):
            if source not in known:
                digest.update(repr((clip, _file_sizes(source))).encode())
        return digest.hexdigest()


def describe_tables(tables: Iterable[Table], manual_dir: Path) -> str:
    """Returns the files and sheets that were read, relative to the user's folder."""
    return "; ".join(
        f"names of the folders in {shown(table.path, manual_dir)}"
        if table.of_folders
        else f"{shown(table.path, manual_dir)}, sheet {table.sheet}"
        for table in tables
    )


def _file_sizes(source: Path) -> list[tuple[str, int]]:
    """Returns names and sizes in bytes of a folder's files, or of the video itself."""
    try:
        if not source.is_dir():
            return [(source.name, source.stat().st_size)]
        with os.scandir(source) as entries:
            return sorted(
                (entry.name, entry.stat().st_size)
                for entry in entries
                if false_on_os_error(entry.is_file)
            )
    except OSError:  # reported when its frames are read
        return []


def open_local_copy(
    specification: Specification,
    config: LocalCopyConfig,
    manual_dir: Path,
    others: Sequence[Specification] = (),
) -> LocalCopy:
    """Finds the tables and the release to read in a user's folder.

    Args:
      specification: specification of the data set.
      config: which table, release and rows to read.
      manual_dir: the user's folder.
      others: specifications of other data sets, whose tables are not read.

    Raises:
      DataError: if there is no table or release, the configuration contradicts itself,
        or no row is selected.
    """
    manual_dir = Path(manual_dir)
    if specification.label_of_folders is None:
        tables, missing_tables, notes = choose_tables(
            specification, config, manual_dir, others
        )
    else:
        check_options(specification, config)
        tables = [rows_of_folders(specification, config, manual_dir)]
        missing_tables, notes = [], []
    # First, since estimates of all rows are the largest loss.
    notes[:0] = [sentence for table in tables for sentence in table.without.values()]
    rows, left_out, not_selected = [], [], 0
    for table in tables:
        left_out += table.left_out
        if table.other_sheets:
            notes.append(
                f"{table.path.name}: sheet {table.sheet} was read, and not "
                f"{', '.join(table.other_sheets)}, which has the same columns"
            )
        for row in table.rows:
            try:
                rows.append(specification.interpreted(row))
            except DataError as error:
                left_out.append(row.left_out(str(error)))
    # Counted over all rows, so that clip ids do not depend on the selection.
    counts = collections.Counter(_clip_key(row) for row in rows)
    notes += _overlap_notes(rows, tables, specification)
    selected: dict[str, Annotation] = {}
    first_rows: dict[tuple, Annotation] = {}
    doubled = 0  # rows that another table has, too
    for row in rows:
        if not specification.selects(row, config):
            not_selected += 1
            continue
        clip_id = f"{row.subject}/{row.clip}"
        if counts[_clip_key(row)] > 1:
            clip_id += f"@{row.onset}"
        first = first_rows.setdefault((*_clip_key(row), row.onset), row)
        if first is row:
            selected[clip_id] = row
            continue
        doubled += row.table != first.table
        left_out.append(_same_expression(row, first, tables))
        # Of two emotions, none is known to be right.
        if row.emotion != first.emotion and selected.pop(clip_id, None) is not None:
            left_out.append(_same_expression(first, row, tables))
    if 2 * doubled > len(first_rows):
        notes.append(
            f"{doubled} rows are in several tables, as in generations of one table: "
            "name only one of them with --table"
        )
    if not selected:
        raise DataError(no_records_message(specification, tables, left_out))
    generation = _generation_note(specification, config, tables, selected.values())
    release, release_notes = choose_release(
        manual_dir, specification, config, list(selected.values())
    )
    if specification.label_of_folders is not None:
        selected = {n: renumbered(row, release) for n, row in selected.items()}
    # Counted over all rows, including those that are not selected.
    sources = collections.Counter(release.source(row.subject, row.clip) for row in rows)
    shared = frozenset(source for source, n in sources.items() if source and n > 1)
    release = dataclasses.replace(release, shared=shared)
    crop = config.crop
    if crop == "auto":
        crop = "provided" if release.release.cropped else "detect"
    left_out += _frames_without_row(release, (*rows, *left_out), tables)
    return LocalCopy(
        specification=specification,
        manual_dir=manual_dir,
        tables=tuple(tables),
        release=release,
        crop=crop,
        rows=tuple(selected.items()),
        left_out=tuple(left_out),
        not_selected=not_selected,
        missing_tables=tuple(missing_tables),
        notes=(*notes, *generation, *release_notes),
        without_apexes=tuple(t.without["apex"] for t in tables if "apex" in t.without),
    )


def _same_expression(
    row: Annotation, other: Annotation, tables: Sequence[Table]
) -> LeftOut:
    """Returns the report's entry for a row whose expression another row describes."""
    reason = f"{row_label(other, tables)} has the same subject, clip and onset"
    if other.emotion != row.emotion:
        reason += f", but is {other.emotion} and not {row.emotion}"
    return row.left_out(reason)


def _overlap_notes(
    rows: Sequence[Annotation], tables: Sequence[Table], specification: Specification
) -> Iterator[str]:
    """Yields a note on each row that overlaps with an earlier one of its clip."""
    of_clip = collections.defaultdict(list)
    for row in rows:
        of_clip[row.subject, specification.recording_of(row).casefold()].append(row)
    for some in of_clip.values():
        one, *others = sorted(some, key=lambda row: row.onset)
        for other in others:
            if one.onset < other.onset <= _end(one):
                labels = " and ".join(row_label(row, tables) for row in (one, other))
                yield (
                    f"{labels} are of the same clip, {one.subject}/"
                    f"{specification.recording_of(one)}, and overlap: {one.emotion} "
                    f"from {one.onset} to {_end(one)}, {other.emotion} from "
                    f"{other.onset}"
                )
            if _end(other) > _end(one):
                one = other


def _end(row: Annotation) -> int:
    """Returns the last frame that is known to be of an expression."""
    return next(n for n in (row.offset, row.apex, row.onset) if n is not None)


def _generation_note(
    specification: Specification,
    config: LocalCopyConfig,
    tables: Sequence[Table],
    rows: Iterable[Annotation],
) -> list[str]:
    """Returns a note if the table is another generation than the preferred one."""
    generation = specification.generation(
        collections.Counter(row.emotion for row in rows), config
    )
    preferred = next(iter(specification.counts_for(config)), "")
    if generation in (None, preferred):
        return []
    names = " and ".join(table.path.name for table in tables)
    note = f"by its numbers of expressions, {names} is {generation}"
    of_paper = specification.paper_counts.items()
    if of_paper and of_paper <= specification.published_counts[preferred].items():
        note += f"; the paper has the numbers of {preferred}"
    return [note]


def _clip_key(row: Annotation) -> tuple[str, str]:
    """Identifies a clip regardless of case, as folders are found."""
    return row.subject, row.clip.casefold()


def _frames_without_row(
    release: LocalRelease, rows: Sequence, tables: Sequence[Table]
) -> list[LeftOut]:
    used = {release.source(row.subject, row.clip) for row in rows}
    named = {(row.subject, release.release.parse_clip_name(row.clip)) for row in rows}
    unused = []
    aside = {path: folder for path, folder in release.no_expressions.values()}
    sources = [*release.clips.items()]
    sources += [(key, path) for key, (path, _) in release.no_expressions.items()]
    for (subject, _), source in sources:
        if source in used:
            continue
        name = release.name_of(source)
        _, without = release.release.parse_folder_names(
            subject, without_suffix(name)[0]
        )
        reason = "frames, but no row in the table"
        if of_folders(tables):
            reason = "its name is not that of an expression"
        if (subject, without) in named:
            reason = _SECOND
        if source in aside:
            reason = f"the folder {aside[source]} has no expressions"
        try:
            if source.is_dir() and not numbered_frames(source):
                continue
        except PermissionError:
            reason = "permission denied for its folder, and no row in the table"
        unused.append(LeftOut(None, None, subject, name, reason))
    others = [
        LeftOut(
            None,
            None,
            source.parent.name,
            source.name,
            _SECOND,
        )
        for source in release.duplicates
        if source not in used
    ]
    others += [
        LeftOut(None, None, source.name, "", "permission denied for its folder")
        for source in release.unreadable
    ]
    if of_folders(tables):  # a row of a table says that its frames are missing
        reason = "frames, but the name of the folder is not that of a subject"
        others += [
            LeftOut(None, None, folder.name, "", reason)
            for folder in folders_of_no_subject(release)
        ]
    return sorted([*unused, *others], key=lambda entry: (entry.subject, entry.clip))


def no_records_message(
    specification: Specification, tables: Sequence[Table], left_out: Sequence[LeftOut]
) -> str:
    """Returns the error message for a copy in which no row can become a record."""
    no_table = of_folders(tables)
    examples = [
        f"  {entry_label(entry.row, entry.table, no_table)} "
        f"({entry.subject}/{entry.clip}): {entry.reason}"
        for entry in left_out[:5]
        if entry.row is not None
    ]
    paths = ", ".join(str(table.path) for table in tables)
    rows, needed = f"row of {paths}", "table and the frames"
    if no_table:
        rows, needed = f"folder in {paths}", "frames and the names of their folders"
    return "\n".join(
        [
            f"No {rows} can become a record.",
            *examples,
            f"Check that the {needed} are those of {specification.title} and unpack "
            "them again.",
        ]
    )
