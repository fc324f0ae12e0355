"""Which of a copy's tables is read, whatever it is called."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from datasets.source.annotations import Table, read_table
from datasets.source.folders import folders_under
from datasets.source.specification import CopyConfig, Facts
from meranet_jax.errors import DataError

SUFFIXES = (".xlsx", ".xls", ".csv")


def find_tables(manual_dir: Path, depth: int = 4) -> list[Path]:
    """Every table up to ``depth`` folders below ``manual_dir``, the nearest first."""
    return [
        path
        for folder in folders_under(manual_dir, depth)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith((".", "~$"))  # open in a spreadsheet program
        and path.is_file()
    ]


def choose_tables(
    facts: Facts, config: CopyConfig, manual_dir: Path
) -> tuple[list[Table], list[str], list[str]]:
    """The tables to read, what lacks of them, and what to say of the choice.

    Raises:
      DataError: if there is none, or it cannot be read.
    """
    found = find_tables(manual_dir)
    named: dict[Path, int] = {}
    for path in found:
        for kind, parts in enumerate(facts.tables):
            if any(pattern.search(path.name) for _, pattern in parts):
                named.setdefault(path, kind)

    def shown(paths: Iterable[Path]) -> str:
        return ", ".join(str(path.relative_to(manual_dir)) for path in paths)

    if config.table is not None:
        chosen = [path for path in found if path.name == config.table][:1]
        if not chosen:
            raise DataError(
                f"There is no table {config.table} in {manual_dir}, up to four folders "
                f"deep. Tables there: {shown(found) or 'none'}."
            )
        return [read_table(chosen[0], facts.columns)], [], []
    if not named:
        table, note = _renamed_table(facts, found, manual_dir, shown)
        return [table], [], [note]
    best = min(named.values())
    chosen, lacking = [], []
    for name, pattern in facts.tables[best]:
        # Of several the newest, of these the nearest, which find_tables comes first
        # upon.
        there = [path for path in named if pattern.search(path.name)]
        chosen += sorted(there, key=_date, reverse=True)[:1]
        lacking += [] if there else [name]
    notes = [f"a part of the table was not found: {name}" for name in lacking]
    if others := [path for path in named if path not in chosen]:
        notes.append(
            f"of several tables {shown(chosen)} was taken, not {shown(others)}"
        )
    return [read_table(path, facts.columns) for path in chosen], lacking, notes


def _renamed_table(
    facts: Facts,
    found: Sequence[Path],
    manual_dir: Path,
    shown: Callable[[Iterable[Path]], str],
) -> tuple[Table, str]:
    """A table of another name, which its columns tell, and what to say of it.

    Raises:
      DataError: if there is none.
    """
    refused = []
    for path in found:
        try:
            table = read_table(path, facts.columns)
        except DataError as error:
            refused.append((path, error))
            continue
        return (
            table,
            f"{shown([path])} was taken, whose columns are those of {facts.title}",
        )
    lines = [
        f"No table of {facts.title} was found in {manual_dir}, up to four folders deep."
    ]
    if len(refused) == 1:
        lines.append(str(refused[0][1]))
    else:
        tables = shown(path for path, _ in refused)
        lines.append(f"Tables with other columns: {tables or 'none'}.")
    above = manual_dir.resolve().parent
    for folder in (above, above.parent):
        try:
            near = any(_is_named(path, facts) for path in find_tables(folder, depth=0))
        except OSError:  # not ours to look into
            break
        if near:
            lines.append(f"There is one in {folder}: give that as --manual_dir.")
            break
    raise DataError("\n".join([*lines, facts.expected]))


def _date(path: Path) -> str:
    """The date in a table's name, 20190701; empty if there is none."""
    return max(re.findall(r"(?<![0-9])[12][0-9]{7}(?![0-9])", path.name), default="")


def _is_named(path: Path, facts: Facts) -> bool:
    """Whether a table's name is one of the data set's."""
    return any(
        pattern.search(path.name) for parts in facts.tables for _, pattern in parts
    )
