"""Traversal of a user's folder that tolerates link cycles and unreadable folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from meranet_jax.video.frames import false_on_os_error

# Subjects' folders, which contain nothing but frames: sub01, s15, 15, subject_1.
_SUBJECT_FOLDER = re.compile(r"(?:s|sub|subject)?[\s_-]*[0-9]{1,3}", re.IGNORECASE)


def folders_under(root: Path, depth: int) -> Iterator[Path]:
    """Yields ``root`` and the folders up to ``depth`` levels below it, nearest first.

    Three kinds of folders are skipped: those of subjects, since they contain nothing
    but frames (unless there is only one, which may have such a name by chance); those
    that macOS adds to archives; and those that are not readable.

    Raises:
      PermissionError: if ``root`` itself is not readable.
    """
    level, seen = [root], set()
    for _ in range(depth + 1):
        below = []
        for folder in level:
            if (real := folder.resolve()) in seen:
                continue  # a link to a folder already visited
            seen.add(real)
            try:
                inside = subfolders(folder)
            except PermissionError:
                if folder == root:
                    raise
                continue
            yield folder
            subjects = [f for f in inside if _SUBJECT_FOLDER.fullmatch(f.name)]
            if len(subjects) == 1:
                subjects = []  # it may contain a release
            below += [
                child
                for child in inside
                if child not in subjects and not child.name.startswith("__MACOSX")
            ]
        level = below


def subfolders(parent: Path) -> list[Path]:
    """Returns the folders in ``parent``, sorted by name, without hidden ones."""
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and false_on_os_error(entry.is_dir)
        ]
    return [parent / name for name in sorted(names)]
