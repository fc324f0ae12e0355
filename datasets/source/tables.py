"""Search for the annotation tables in a local copy."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from datasets.source.annotations import OtherColumnsError, Table, read_table
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
    specification: Specification, config: LocalCopyConfig, manual_dir: Path
) -> tuple[list[Table], list[str], list[str]]:
    """Chooses and reads the tables of a data set.

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

    if config.table is not None:
        chosen = [path for path in found if path.name == config.table][:1]
        if not chosen:
            raise DataError(
                f"There is no table {config.table} in {manual_dir}, up to four folders "
                f"deep. Tables there: {relative(found) or 'none'}."
            )
        return [read_table(chosen[0], specification.columns)], [], []
    read: dict[Path, Table] = {}
    notes = []
    for path in sorted(named, key=lambda path: named[path]):
        try:
            read[path] = read_table(path, specification.columns)
        except OtherColumnsError:
            del named[path]
            notes.append(
                f"{relative([path])} was not read: its columns are not those of "
                f"{specification.title}"
            )
        except DataError:  # raised again if it is chosen
            continue
    if not named:
        table, more = _table_by_columns(specification, found, manual_dir, relative)
        return [table], [], more
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


def _table_by_columns(
    specification: Specification,
    found: Sequence[Path],
    manual_dir: Path,
    relative: Callable[[Iterable[Path]], str],
) -> tuple[Table, list[str]]:
    """Returns the table that has the data set's columns, and notes on the choice.

    Of several the one with frames for most of its rows is used: people give tables of
    different data sets the same columns.

    Raises:
      DataError: if there is none.
    """
    read, rejected = [], []
    for path in found:
        try:
            read.append(read_table(path, specification.columns))
        except DataError as error:
            rejected.append((path, error))
    if read:
        releases = [
            release
            for folders in find_releases(manual_dir, specification.releases)
            for release in folders
        ]

        def rows_with_frames(table: Table) -> int:
            wanted = [(row.subject, row.clip) for row in table.rows]
            return max((one.count_clips(wanted) for one in releases), default=0)

        best = max(read, key=rows_with_frames) if len(read) > 1 else read[0]
        notes = [
            f"{relative([best.path])} was read: its name is unknown, but its columns "
            f"are those of {specification.title}"
        ]
        notes += [
            f"{relative([table.path])} was not read: {rows_with_frames(table)} of its "
            f"{len(table.rows)} rows have frames"
            for table in read
            if table is not best
        ]
        notes += [
            f"{relative([path])} was not read: its columns are not those of "
            f"{specification.title}"
            for path, error in rejected
            if isinstance(error, OtherColumnsError)
        ]
        return best, notes
    lines = [
        f"No table of {specification.title} was found in {manual_dir}, up to four "
        "folders deep."
    ]
    if len(rejected) == 1:
        lines.append(str(rejected[0][1]))
    else:
        tables = relative(path for path, _ in rejected)
        lines.append(f"Tables with other columns: {tables or 'none'}.")
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


def _date(path: Path) -> str:
    """Returns the date in a table's name, 20190701; empty if there is none."""
    return max(re.findall(r"(?<![0-9])[12][0-9]{7}(?![0-9])", path.name), default="")


def _has_known_name(path: Path, specification: Specification) -> bool:
    return any(
        pattern.search(path.name)
        for parts in specification.tables
        for _, pattern in parts
    )
