"""Search for the annotation tables in a local copy."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datasets.source.annotations import (
    OtherColumnsError,
    Table,
    read_table,
)
from datasets.source.cells import is_number
from datasets.source.folders import folders_under
from datasets.source.releases import find_releases
from datasets.source.specification import LocalCopyConfig, Specification
from meranet_jax.errors import DataError

TABLE_SUFFIXES = (".xlsx", ".xls", ".csv")


def find_tables(manual_dir: Path, depth: int = 4) -> list[Path]:
    """Returns all tables up to ``depth`` levels below ``manual_dir``, nearest first."""
    return [
        path
        for folder in folders_under(manual_dir, depth)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in TABLE_SUFFIXES
        and not path.name.startswith((".", "~$"))  # ~$: open in a spreadsheet program
        and path.is_file()
    ]


def choose_tables(
    specification: Specification,
    config: LocalCopyConfig,
    manual_dir: Path,
    others: Sequence[Specification] = (),
) -> tuple[list[Table], list[str], list[str]]:
    """Chooses and reads the tables of a data set.

    Args:
      specification: specification of the data set.
      config: its ``table`` names the tables, or is empty.
      manual_dir: the user's folder.
      others: specifications of other data sets, whose tables are not read.

    Returns:
      The tables, the names of parts of the table that are missing, and notes for the
      user on the choice.

    Raises:
      DataError: if there is no table of the data set, or it cannot be read.
    """
    found = find_tables(manual_dir)
    named: dict[Path, int] = {}
    for path in found:
        for kind, parts in enumerate(specification.tables):
            if any(pattern.search(path.name) for _, pattern in parts):
                named.setdefault(path, kind)

    def relative(paths: Iterable[Path]) -> str:
        """Returns the paths relative to the copy's folder, separated by commas."""
        return ", ".join(str(path.relative_to(manual_dir)) for path in paths)

    if config.table:
        return _given_tables(specification, config.table, manual_dir, found, named)
    read: dict[Path, Table] = {}
    notes = []
    for path in sorted(named, key=lambda path: named[path]):
        try:
            read[path] = read_table(path, specification.columns)
            why = _why_of_other_emotions(read[path], specification)
        except OtherColumnsError as error:
            why = error.unknown
            why = why or f"its columns are not those of {specification.title}"
        except DataError:  # raised again if it is chosen
            continue
        if why:
            del named[path]
            notes.append(f"{relative([path])} was not read: {why}")
    if not named:
        table, more = _table_by_columns(specification, found, manual_dir, others)
        return [table], [], list(dict.fromkeys([*more, *notes]))
    best = min(named.values())
    chosen, missing = [], []
    for name, pattern in specification.tables[best]:
        # The newest by date; if several have that date, the nearest, which find_tables
        # lists first.
        candidates = [path for path in named if pattern.search(path.name)]
        chosen += sorted(candidates, key=_date, reverse=True)[:1]
        missing += [] if candidates else [name]
    notes += [f"part of the table is missing: {name}" for name in missing]
    if unused := [path for path in named if path not in chosen]:
        notes.append(
            f"several tables were found: {relative(chosen)} was read, not "
            f"{relative(unused)}"
        )
    tables = [
        read[path] if path in read else read_table(path, specification.columns)
        for path in chosen
    ]
    return tables, missing, notes


def _given_tables(
    specification: Specification,
    names: Sequence[str],
    manual_dir: Path,
    found: Sequence[Path],
    named: Mapping[Path, int],
) -> tuple[list[Table], list[str], list[str]]:
    """Returns the tables that ``--table`` names; see ``choose_tables``.

    Args:
      specification: specification of the data set.
      names: file names or paths in the user's folder.
      manual_dir: the user's folder.
      found: all tables.
      named: index in ``specification.tables`` of each table with a known name.
    """

    def relative(path: Path) -> str:
        """Returns the path relative to the copy's folder."""
        return path.relative_to(manual_dir).as_posix()

    chosen, notes = [], []
    for name in names:
        matching = [path for path in found if relative(path) == name]
        matching = matching or [path for path in found if path.name == name]
        if not matching:
            raise DataError(
                f"There is no table {name} in {manual_dir} or the folders in it. "
                f"Tables there: {', '.join(map(relative, found)) or 'none'}."
            )
        if len(matching) > 1:
            notes.append(
                f"several tables have the name {name}: {relative(matching[0])} was "
                f"read, not {', '.join(map(relative, matching[1:]))}; --table may be a "
                "path in the folder of the copy"
            )
        if matching[0] in chosen:
            raise DataError(f"--table={name} names a table that is named before.")
        chosen.append(matching[0])
    if unused := [path for path in named if path not in chosen]:
        notes.append(
            f"--table leaves out {', '.join(map(relative, unused))}, named like tables "
            f"of {specification.title}"
        )
    missing = []
    kinds = {named[path] for path in chosen if path in named}
    if len(kinds) == 1 and all(path in named for path in chosen):
        for part, pattern in specification.tables[kinds.pop()]:
            if not any(pattern.search(path.name) for path in chosen):
                missing.append(part)
                notes.append(f"part of the table is missing: {part}")
    tables = [read_table(path, specification.columns) for path in chosen]
    return tables, missing, notes


def _table_by_columns(
    specification: Specification,
    found: Sequence[Path],
    manual_dir: Path,
    others: Sequence[Specification],
) -> tuple[Table, list[str]]:
    """Returns the table that has the data set's columns, and notes on the choice.

    People give tables of different data sets the same columns. A table is not read if
    it has another data set's name or emotions; of several that remain, the one with
    frames for most of its rows is.

    Raises:
      DataError: if there is none.
    """
    read: list[Table] = []
    rejected: dict[Path, str] = {}
    of_others, unreadable = False, []
    for path in found:
        try:
            table = read_table(path, specification.columns)
            why = _why_of_other(path, others)
            why = why or _why_of_other_emotions(table, specification)
            if why:
                rejected[path], of_others = why, True
            else:
                read.append(table)
        except OtherColumnsError as error:
            why = error.unknown
            why = why or f"its columns are not those of {specification.title}"
            rejected[path] = _why_of_other(path, others) or why
            unreadable.append(str(error))
        except DataError as error:
            rejected[path] = "it cannot be read"
            unreadable.insert(0, str(error))
    notes = [
        f"{path.relative_to(manual_dir)} was not read: {why}"
        for path, why in rejected.items()
    ]
    if read:
        best, more = _with_most_frames(read, specification, manual_dir)
        return best, [*more, *notes]
    lines = [
        f"No table of {specification.title} was found in {manual_dir} or the folders "
        "in it.",
        *(notes or ["Tables there: none."]),
        *unreadable[:2],
    ]
    if of_others:
        lines.append("--table=FILE reads a table whatever its name and its emotions.")
    above = manual_dir.resolve().parent
    for folder in (above, above.parent):
        try:
            near = any(
                _has_known_name(path, specification)
                for path in find_tables(folder, depth=0)
            )
        except OSError:  # not readable
            break
        if near:
            lines.append(f"There is one in {folder}: give that as --manual_dir.")
            break
    raise DataError("\n".join([*lines, specification.expected_layout]))


def _why_of_other(path: Path, others: Sequence[Specification]) -> str:
    """Returns why a table is another data set's; empty if it is not.

    A table is if it has the name, the columns and the emotions of another one.
    """
    for other in others:
        if not _has_known_name(path, other):
            continue
        try:
            table = read_table(path, other.columns)
        except DataError:
            continue
        if not _why_of_other_emotions(table, other):
            return (
                f"it has the name and the columns of {other.title}'s table, the data "
                f"set {other.name}"
            )
    return ""


def _why_of_other_emotions(table: Table, specification: Specification) -> str:
    """Returns why a table is another data set's by its emotions; empty if it is not."""
    if not specification.emotions:
        return ""
    unknown = collections.Counter()
    for row in table.rows:
        try:
            emotion = specification.interpret(row).emotion
        except DataError:  # its row is reported
            continue
        # Numbers are reported with what to do.
        if emotion not in specification.emotions and not is_number(emotion):
            unknown[emotion] += 1
    if 3 * unknown.total() <= len(table.rows):
        return ""
    return (
        f"{unknown.total()} of its {len(table.rows)} rows have emotions that are not "
        f"those of {specification.title}: "
        f"{', '.join(repr(emotion) for emotion, _ in unknown.most_common(4))}. Those "
        f"of {specification.title} are {', '.join(specification.emotions)}"
    )


def _with_most_frames(
    tables: Sequence[Table], specification: Specification, manual_dir: Path
) -> tuple[Table, list[str]]:
    """Returns the table with frames for most of its rows, and notes on the choice."""
    counts = [0] * len(tables)
    if len(tables) > 1:
        releases = [
            release
            for folders in find_releases(manual_dir, specification.releases)
            for release in folders
        ]
        for index, table in enumerate(tables):
            wanted = [(row.subject, row.clip) for row in table.rows]
            counts[index] = max((r.count_clips(wanted) for r in releases), default=0)
    best, count = max(
        zip(tables, counts, strict=True),
        key=lambda one: (one[1] / max(1, len(one[0].rows)), one[1]),
    )
    note = (
        f"{best.path.relative_to(manual_dir)} was read: its name is unknown, but its "
        f"columns are those of {specification.title}"
    )
    if len(tables) > 1:
        note += f", and {count} of its {len(best.rows)} rows have frames"
    notes = [note]
    for table, other in zip(tables, counts, strict=True):
        if table is not best:
            text = (
                f"{table.path.relative_to(manual_dir)} was not read: {other} of its "
                f"{len(table.rows)} rows have frames"
            )
            if other * len(best.rows) == count * len(table.rows):
                text += ", the same share; --table says which one to read"
            notes.append(text)
    return best, notes


def _date(path: Path) -> str:
    """Returns the date in a table's name, 20190701; empty if there is none."""
    return max(re.findall(r"(?<![0-9])[12][0-9]{7}(?![0-9])", path.name), default="")


def _has_known_name(path: Path, specification: Specification) -> bool:
    return any(
        pattern.search(path.name)
        for parts in specification.tables
        for _, pattern in parts
    )
