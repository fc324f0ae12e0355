"""Formats tables and their numbers in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Formats a table.

    Args:
      head: the column names.
      rows: the cells of each row.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def drop_empty_columns(
    head: Sequence[str], rows: Sequence[Sequence[object]]
) -> tuple[list[str], list[list[object]]]:
    """Leaves out the columns of a table whose cells are all the empty text.

    Args:
      head: the column names.
      rows: the cells of each row.

    Returns:
      Both without these columns.
    """
    kept = [n for n, cells in enumerate(zip(*rows, strict=True)) if set(cells) != {""}]
    return [head[n] for n in kept], [[row[n] for n in kept] for row in rows]


def score(row: Mapping[str, Any], name: str) -> str:
    """Formats a score with its standard deviation and its interval, if there are any.

    Args:
      row: has the columns ``name``, ``name_sd``, ``name_low`` and ``name_high``.
      name: of the score.
    """
    text = f"{row[name]:.3f}"
    if row[f"{name}_sd"] is not None:
        text += f" ± {row[f'{name}_sd']:.3f}"
    if row[f"{name}_low"] is not None:
        text += f" ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
    return text
